"""How the rows of a technique, its devices, plugins and single hypercalls become one machine's table.

Whoever brings rows is a party, named in every message: two that claim one number, key or name are both told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, TypeVar

from pv.dispatch import Collision, DispatchTable, Row, overlaps
from pv.exits import Reason
from pv.options import Option
from pv.plugin import LoadedPlugin, PluginError, describe, load_plugins
from pv.techniques import Technique

Party = tuple[str, Iterable[Row]]
"""Who brings rows, in words, and the rows."""

T = TypeVar("T")
MEND: Final = "leave one out, an installed plugin with --no-plugin or disabled_plugins="


def find_members(
    technique: Technique, hypercalls: Iterable[Any], *, plugins: bool, disabled: Collection[str], strict: bool
) -> tuple[list[LoadedPlugin], list[str]]:
    """The installed plugins and what was handed over, and a line for each plugin left out.

    None where the technique takes no hypercalls. Raises ValueError where some are handed over all the same,
    TypeError for one that has no name and rows(), Collision where two plugins have one name, and what load_plugins
    raises.
    """
    given = list(hypercalls)
    for one in given:
        if not (hasattr(one, "name") and hasattr(one, "rows")):
            raise TypeError(f"hypercalls=: {one!r} is no hypercall; decorate it with @hypercall(number, name)")
    if not technique.takes_hypercalls:
        if given:
            raise ValueError(f"technique {technique.name!r} takes no hypercalls; leave out hypercalls=")
        return [], []
    members = [LoadedPlugin(one.name, one, f"{one.name}, given as hypercalls=") for one in given]
    reports: list[str] = []
    if plugins:
        loaded = load_plugins(disabled, strict)
        members = [*loaded.plugins, *members]
        reports += loaded.reports
    _check_names(members)
    return members, reports


def _check_names(members: Iterable[LoadedPlugin]) -> None:
    """Raises Collision where two plugins would keep their state under one name."""
    sources: dict[str, str] = {}
    for member in members:
        if not hasattr(member.plugin, "set_up"):
            continue
        name = member.plugin.name
        if name in sources:
            raise Collision(f"plugin name {name!r} is claimed by {sources[name]} and by {member.source}; {MEND}")
        sources[name] = member.source


class LateParties:
    """Who brings rows, in order, each asked when its rows are wanted: what forks of a machine share of its table."""

    def __init__(self, parties: Iterable[tuple[str, Callable[[], Iterable[Row]]]]) -> None:
        self._parties: Final = tuple(parties)
        self.counts: tuple[int, ...] = ()  # rows that each brought, once all were asked

    def ask_all(self) -> list[Party]:
        """Every party's rows."""
        parties: list[tuple[str, list[Row]]] = [(name, list(rows())) for name, rows in self._parties]
        self.counts = tuple(len(rows) for _, rows in parties)
        return list(parties)

    def rows_at(self, index: int) -> tuple[int, list[Row]]:
        """The number of the first row, and all rows, of the party that brings row `index` of the table."""
        first = 0
        for count, (_, rows) in zip(self.counts, self._parties, strict=True):
            if index < first + count:
                return first, list(rows())
            first += count
        raise IndexError(f"no party brings row {index}")


def build_table(
    parties: Iterable[Party], *wrappers: Callable[[list[Row]], list[Row]]
) -> tuple[DispatchTable, dict[str, int]]:
    """The table of all parties' rows, each of `wrappers` applied to them in turn, and the calls' numbers by name.

    A wrapper gives as many rows as it takes, in their order. Raises Collision, naming both parties.
    """
    sources: list[str] = []
    rows: list[Row] = []
    for party, its_rows in parties:
        for row in its_rows:
            rows.append(row)
            sources.append(party)
    numbers = _name_calls(rows, sources)
    for wrap in wrappers:
        rows = wrap(rows)
    table = DispatchTable()
    for index, row in enumerate(rows):
        try:
            table.add(row)
        except Collision as error:
            other = next(i for i in range(index) if rows[i].reason is row.reason and overlaps(rows[i], row))
            raise Collision(f"{error} [{sources[other]} | {sources[index]}]; {MEND}") from None
    return table, numbers


def rows_of(member: LoadedPlugin, machine: Any) -> list[Row]:
    """The rows that a member brings. Raises TypeError for what is no row."""
    checked = list(member.plugin.rows(machine))
    for row in checked:
        if not isinstance(row, Row):
            raise TypeError(f"{row!r} is no pv.dispatch.Row")
    return checked


def _name_calls(rows: Iterable[Row], sources: list[str]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    parties: dict[str, str] = {}
    for row, party in zip(rows, sources, strict=True):
        if row.reason is not Reason.VMCALL or not row.name:
            continue
        if row.name in numbers:
            raise Collision(
                f"hypercall name {row.name!r} is claimed by {parties[row.name]} ({numbers[row.name]:#x}) "
                f"and by {party} ({row.first:#x}); {MEND}"
            )
        numbers[row.name], parties[row.name] = row.first, party
    return numbers


def known_options(own: Iterable[Option], members: Iterable[LoadedPlugin]) -> dict[str, Option]:
    """Every option of a machine by the name it is set by: its own, and `PLUGIN.OPTION` of each plugin's."""
    known = {option.name: option for option in own}
    for member in members:
        known |= {f"{member.plugin.name}.{option.name}": option for option in getattr(member.plugin, "options", ())}
    return known


def claim_features(members: Iterable[LoadedPlugin]) -> dict[str, int]:
    """The plugins' own feature bits by name. Raises Collision where two claim one bit or one name, naming both."""
    bits: dict[str, int] = {}
    sources: dict[str | int, str] = {}
    for member in members:
        for feature in getattr(member.plugin, "own_features", ()):
            for what, key in (("bit", feature.bit), ("name", feature.name)):
                if key in sources:
                    raise Collision(
                        f"feature {what} {key!r} is claimed by {sources[key]} and by {member.source}; {MEND}"
                    )
            bits[feature.name] = feature.bit
            sources[feature.name] = sources[feature.bit] = member.source
    return bits


def ask(member: LoadedPlugin, what: str, do: Callable[..., T], *arguments: Any) -> T:
    """do(*arguments), which is a stranger's code: what it raises becomes a PluginError that says whose it is."""
    try:
        return do(*arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit() too: it ends no process of ours
        raise PluginError(f"plugin {member.source} {what}: {describe(error)}") from error

"""Which hypercalls there are: a table of all calls of some plugins, by number and by name; their features and options.

For people and for generated headers: a machine needs none of it. Two parties that claim one number, one name or one
feature bit are refused here, as they are when a machine is put together.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from guest_sdk import abi
from hypercalls.arguments import BufferOut
from hypercalls.call import Hypercall
from hypercalls.document import DocumentOut
from hypercalls.plugin import Plugin
from pv.dispatch import Collision
from pv.options import Option

OUT = (BufferOut, DocumentOut)
MEND = "uninstall one, leave it out with --no-plugin, or give it another"


@dataclass(frozen=True, slots=True)
class Listed:
    """A hypercall and who brought it."""

    call: Hypercall
    owner: str

    def prototype(self) -> str:
        """The call as a line: name(argument: u64, ...)."""
        return f"{self.call.name}({', '.join(f'{name}: u{bits}' for name, bits in self.call.arguments)})"

    def outline(self) -> str:
        """The call as a short line: the width of an argument stands there only where it is not 64 bits."""
        arguments = (name if bits == 64 else f"{name}: u{bits}" for name, bits in self.call.arguments)
        return f"{self.call.name}({', '.join(arguments)})"

    def text(self) -> str:
        """All that is known of the call, in a few lines."""
        call = self.call
        lines = [f"{call.number:#06x}  {self.prototype()}"]
        if call.doc:
            lines += ["", textwrap.indent(call.doc, "  ")]
        lines.append("")
        for parameter in call.signature.parameters:
            registers = ", ".join(name for name, _ in parameter.registers)
            lines.append(f"  {registers}: {parameter.type.describe()}")
        lines += [
            f"  result: {call.result or 'an integer, or a negated errno'}",
            f"  owner: {self.owner}",
            f"  from CPL 3: {'allowed' if call.user_allowed else 'refused with -EPERM'}",
            f"  in a multicall: {'allowed' if call.batchable else 'refused with -EINVAL'}",
        ]
        return "\n".join(lines)


class Registry:
    """The calls of `sources`, in the order of their numbers."""

    def __init__(self, sources: Iterable[Plugin | Hypercall] = ()) -> None:
        """Raises Collision, naming both parties, where two claim one number, one name or one feature bit."""
        self.by_number: dict[int, Listed] = {}
        self.by_name: dict[str, Listed] = {}
        self.features: dict[str, int] = {}  # the plugins' own bits by name, as abi.FEATURES has the built-in ones
        self.options: dict[str, Option] = {}  # by the name they are set by, PLUGIN.OPTION
        self.plugins: dict[str, Plugin] = {}
        self._feature_owners: dict[str | int, str] = {}
        for source in sources:
            self.add(source)

    def add(self, source: Plugin | Hypercall) -> None:
        """Register every call, feature and option of `source`."""
        if isinstance(source, Hypercall):
            self._add(Listed(source, source.owner))
            return
        if source.name in self.plugins:
            raise Collision(f"two plugins are named {source.name!r}; {MEND} name")
        self.plugins[source.name] = source
        for call in getattr(source, "calls", ()):  # a plugin of a class of its own may bring rows alone
            if not isinstance(call, Hypercall):
                raise TypeError(f"plugin {source.name!r}: {call!r} is not a hypercall; decorate it with @hypercall")
            self._add(Listed(call, source.name))
        for feature in getattr(source, "own_features", ()):
            for what, key in (("bit", feature.bit), ("name", feature.name)):
                if other := self._feature_owners.get(key):
                    raise Collision(f"feature {what} {key!r} is claimed by {other} and by {source.name}; {MEND}")
            self.features[feature.name] = feature.bit
            self._feature_owners |= {feature.name: source.name, feature.bit: source.name}
        self.options |= {f"{source.name}.{option.name}": option for option in getattr(source, "options", ())}

    def feature_owner(self, name: str) -> str:
        """Whose feature that is."""
        return self._feature_owners[name]

    def plugin_text(self, name: str) -> str:
        """All that is known of a plugin, in a few lines: its calls, feature bits, options, and its files for guests."""
        plugin = self.plugins[name]
        lines = [f"{name} {getattr(plugin, 'version', '')}".rstrip()]
        calls = [f"{listed.call.number:#06x}  {listed.prototype()}" for listed in self if listed.owner == name]
        bits = [f"{bit}  {feature}" for feature, bit in self.features.items() if self._feature_owners[feature] == name]
        options = [
            f"{called}: {option.describe()}; {option.show(option.default)} where not set"
            + f"; {option.help}" * bool(option.help)
            for called, option in self.options.items()
            if called.startswith(f"{name}.")
        ]
        files = [str(path) for path in (getattr(plugin, "c_include", None), *getattr(plugin, "c_sources", ())) if path]
        for heading, group in (("calls", calls), ("feature bits", bits), ("options", options), ("for C guests", files)):
            if group:
                lines += ["", f"{heading}:", *(f"  {line}" for line in group)]
        return "\n".join(lines)

    def writes(self) -> dict[str, tuple[str, ...]]:
        """By call, the arguments whose memory its handler writes: a C prototype has no `const` there."""
        return {
            listed.call.name: names
            for listed in self
            if (names := tuple(p.registers[0][0] for p in listed.call.signature.parameters if isinstance(p.type, OUT)))
        }

    def abi_calls(self) -> tuple[abi.Call, ...]:
        """Every call as a row of the ABI's table, for generated headers."""
        jumping = {call.number for call in abi.CALLS if call.jumps}
        return tuple(
            abi.Call(call.number, call.name, call.arguments, call.result, call.user_allowed, call.number in jumping)
            for call in (listed.call for listed in self)
        )

    def _add(self, listed: Listed) -> None:
        call = listed.call
        if other := self.by_number.get(call.number):
            raise Collision(
                f"hypercall number {call.number:#x} is claimed by {other.owner} ({other.call.name}) "
                f"and by {listed.owner} ({call.name}); {MEND}"
            )
        if other := self.by_name.get(call.name):
            raise Collision(
                f"hypercall name {call.name!r} is claimed by {other.owner} ({other.call.number:#x}) "
                f"and by {listed.owner} ({call.number:#x}); {MEND}"
            )
        self.by_number[call.number] = self.by_name[call.name] = listed

    def find(self, name: str) -> Listed:
        """The call of that name. Raises KeyError with one line that names the nearest."""
        if name in self.by_name:
            return self.by_name[name]
        near = get_close_matches(name, self.by_name, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "; `pvkit hypercalls list` shows all"
        raise KeyError(f"no hypercall is named {name!r}{hint}")

    def __iter__(self) -> Iterator[Listed]:
        return iter(self.by_number[number] for number in sorted(self.by_number))

    def __len__(self) -> int:
        return len(self.by_number)

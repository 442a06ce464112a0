"""Which class follows from what an instruction was seen to do? Popek and Goldberg's definitions, and their theorems.

Popek and Goldberg, "Formal requirements for virtualizable third generation architectures" (CACM 17:7, 1974), their user
mode being every level but 0:

- privileged: it runs at CPL 0, and traps at CPL 1 and 3.
- control-sensitive: it changes, without a trap, what is guarded (pv.theorem.observe).
- behaviour-sensitive: what it visibly does depends on a resource that is guarded, or on the level.
- user-sensitive: control-sensitive, or dependent on a resource, at CPL 3 already.
- innocuous: none of these.

An instruction that calls for the monitor at every level (INT n) is a trap by design. Timing is left out, as it is
there. This module sees observations alone: what a manual says cannot reach it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pv.theorem.observe import LEVELS, Observation, differences
from pv.theorem.settings import AGAIN, BASELINE, SETTINGS, Setting

USER_LEVELS: Final = tuple(level for level in LEVELS if level)


class Class(enum.StrEnum):
    """Where an instruction stands to the theorem. SENSITIVE is what breaks it: sensitive, and not privileged."""

    PRIVILEGED = "privileged"
    SENSITIVE = "sensitive"
    INNOCUOUS = "innocuous"
    TRAP = "trap"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Finding:
    """What follows from an observation.

    changes: guarded state that it changed at a level of a monitor's choosing. depends_on: resources that its result
    shows. by_level: whether its result depends on the level. moment: whether two runs of it differ. runs_with: settings
    under which it does not trap though it does otherwise. user_sensitive: already at CPL 3.
    """

    observation: Observation
    kind: Class
    changes: tuple[str, ...]
    depends_on: tuple[str, ...]
    by_level: bool
    moment: bool
    runs_with: tuple[str, ...]
    user_sensitive: bool

    @property
    def name(self) -> str:
        """The instruction's."""
        return self.observation.case.name

    @property
    def control_sensitive(self) -> bool:
        """Whether it changes what is guarded."""
        return bool(self.changes)

    @property
    def behaviour_sensitive(self) -> bool:
        """Whether what it does depends on what is guarded, or on the level."""
        return bool(self.depends_on) or self.by_level

    @property
    def sensitive(self) -> bool:
        """Either of the two."""
        return self.control_sensitive or self.behaviour_sensitive


def classify(seen: Observation) -> Finding:
    """The class of one instruction, and what it is due to."""
    changes = sorted({name for level in LEVELS for setting in chosen(level) for name in changed(seen, level, setting)})
    depends_on = ordered(setting.of for level in LEVELS for setting in SETTINGS if shows(seen, level, setting))
    by_level = any(differs_by_level(seen, level) for level in USER_LEVELS)
    moment = any(is_timed(seen, level) for level in LEVELS)
    user = any(changed(seen, 3, setting) for setting in chosen(3)) or any(
        shows(seen, 3, setting) for setting in SETTINGS
    )
    kind = class_of(seen, bool(changes or depends_on or by_level))
    return Finding(seen, kind, tuple(changes), depends_on, by_level, moment, runs_with(seen), user)


def class_of(seen: Observation, sensitive: bool) -> Class:
    """One word for it."""
    events = [seen.at(level).event for level in LEVELS]
    if not any(seen.at(level).ran for level in LEVELS):
        return Class.TRAP if events[0].startswith("INT") else Class.ABSENT
    if is_privileged(seen):
        return Class.PRIVILEGED
    return Class.SENSITIVE if sensitive else Class.INNOCUOUS


def is_privileged(seen: Observation) -> bool:
    """Whether it runs at CPL 0 alone, as a monitor has the machine."""
    return seen.at(0).ran and not any(seen.at(level).ran for level in USER_LEVELS)


def chosen(level: int) -> Iterable[Setting]:
    """Settings under which a monitor would let a program run at `level`: those that grant it nothing."""
    return [setting for setting in (BASELINE, *SETTINGS) if not (setting.grants and level)]


def changed(seen: Observation, level: int, setting: Setting) -> frozenset[str]:
    """What was guarded and changed, without a trap."""
    run = seen.at(level, setting)
    return run.changed if run.ran else frozenset()


def is_timed(seen: Observation, level: int) -> bool:
    """Whether time or chance fills what it leaves, as two runs in one state differ. None of it is compared then."""
    return bool(differences(seen.at(level), seen.at(level, AGAIN)))


def shows(seen: Observation, level: int, setting: Setting) -> bool:
    """Whether the visible result at `level` is another under `setting`."""
    one, other = seen.at(level), seen.at(level, setting)
    return one.ran and other.ran and not is_timed(seen, level) and bool(differences(one, other))


def differs_by_level(seen: Observation, level: int) -> bool:
    """Whether it runs at CPL 0 and at `level`, and does not do the same: visibly, or to what is guarded."""
    kernel, user = seen.at(0), seen.at(level)
    if not (kernel.ran and user.ran):
        return False
    return kernel.changed != user.changed or (not is_timed(seen, 0) and bool(differences(kernel, user)))


def runs_with(seen: Observation) -> tuple[str, ...]:
    """Settings that let it run at CPL 1 or 3, where it traps otherwise."""
    return tuple(
        setting.name
        for setting in SETTINGS
        if any(not seen.at(level).ran and seen.at(level, setting).ran for level in USER_LEVELS)
    )


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Each once, in the order in which they came."""
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class Theorem:
    """What the findings together say. breaking: sensitive and not privileged; user_breaking: user-sensitive besides."""

    privileged: tuple[str, ...]
    sensitive: tuple[str, ...]
    breaking: tuple[str, ...]
    user_breaking: tuple[str, ...]

    @property
    def first_holds(self) -> bool:
        """Theorem 1: a monitor can be built where every sensitive instruction is privileged."""
        return not self.breaking

    @property
    def third_holds(self) -> bool:
        """Theorem 3: a hybrid monitor, which interprets the guest's kernel, where every user-sensitive one is."""
        return not self.user_breaking


def conclude(findings: Iterable[Finding]) -> Theorem:
    """Hold the findings to the theorems' conditions."""
    findings = list(findings)
    breaking = [one for one in findings if one.kind is Class.SENSITIVE]
    return Theorem(
        tuple(one.name for one in findings if one.kind is Class.PRIVILEGED),
        tuple(one.name for one in findings if one.sensitive),
        tuple(one.name for one in breaking),
        tuple(one.name for one in breaking if one.user_sensitive),
    )

"""Which ways to virtualize privileged code are there? One module each, and this table of them."""

from __future__ import annotations

from typing import Final

from pv.techniques import hardware, paravirt, translate, trap
from pv.techniques.base import NativeHandlers, Technique

__all__ = ["TECHNIQUES", "NativeHandlers", "Technique", "technique"]

TECHNIQUES: Final[dict[str, Technique]] = {
    one.name: one
    for one in (paravirt.TECHNIQUE, trap.TECHNIQUE, translate.TECHNIQUE, hardware.TECHNIQUE, hardware.APICV)
}


def technique(name: str) -> Technique:
    """The technique of that name. Raises ValueError with those that there are."""
    try:
        return TECHNIQUES[name]
    except KeyError:
        raise ValueError(f"no technique {name!r}: choose one of {', '.join(sorted(TECHNIQUES))}") from None

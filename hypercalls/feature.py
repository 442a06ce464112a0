"""What is a feature bit of a plugin's own? A name and a bit by which a guest finds the plugin before it calls.

The bits stand in CPUID leaf abi.CPUID_FEATURES_LEAF, ECX (bit 32 is ECX bit 0), and in abi_features(). Two plugins
that claim one bit or one name are refused where a machine is put together, and in the registry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from guest_sdk import abi

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")  # FEATURE_<NAME> of a generated header


@dataclass(frozen=True, slots=True)
class Feature:
    """Bit `bit` says that the plugin is there. Raises ValueError, TypeError for what cannot be one."""

    name: str
    bit: int

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ValueError(f"feature name {self.name!r} is not of a-z, 0-9 and _, at most 63, a letter first")
        if self.name in abi.FEATURES:
            raise ValueError(f"feature {self.name!r} is pvkit's own (bit {abi.FEATURES[self.name]}); use another name")
        if isinstance(self.bit, bool) or not isinstance(self.bit, int):
            raise TypeError(f"feature {self.name!r}: bit {self.bit!r} is not a whole number")
        first, last = abi.PLUGIN_FEATURE_FIRST, abi.PLUGIN_FEATURE_LAST
        if not first <= self.bit <= last:
            raise ValueError(f"feature {self.name!r}: bit {self.bit} is not a plugin's; use {first} to {last}")

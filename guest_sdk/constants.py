"""Which names of the ABI can a guest's source use, and what are they worth?

One flat table drawn from abi.py: CALL_<NAME> numbers, <STRUCT>_<FIELD> offsets, <STRUCT>_SIZE in bytes,
FEATURE_<NAME> masks, errno values (positive), flags, selectors and limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from guest_sdk import abi

NO_FEATURES: Final[Mapping[str, int]] = MappingProxyType({})

SCALARS = {
    "ABI_VERSION": abi.VERSION,
    "CPUID_SIGNATURE_LEAF": abi.CPUID_SIGNATURE_LEAF,
    "CPUID_FEATURES_LEAF": abi.CPUID_FEATURES_LEAF,
    "CPUID_HYPERCALL_LEAF": abi.CPUID_HYPERCALL_LEAF,
    "HYPERCALL_PAGE_MSR": abi.HYPERCALL_PAGE_MSR,
    "FOREIGN_LAST": abi.FOREIGN_LAST,
    "BUILT_IN_FIRST": abi.BUILT_IN_FIRST,
    "BUILT_IN_LAST": abi.BUILT_IN_LAST,
    "PLUGIN_FIRST": abi.PLUGIN_FIRST,
    "PLUGIN_LAST": abi.PLUGIN_LAST,
    "EVENT_PORTS": abi.EVENT_PORTS,
    "TIMER_PERIOD_LEAST": abi.TIMER_PERIOD_LEAST,
    "TIME_MOST": abi.TIME_MOST,
    "MULTICALL_MOST": abi.MULTICALL_MOST,
    "UPDATES_MOST": abi.UPDATES_MOST,
    "RING_MOST": abi.RING_MOST,
    "NO_PORT": abi.NO_PORT,
    "BLOCK_MOST": abi.BLOCK_MOST,
    "SECTOR_BYTES": abi.SECTOR_BYTES,
    "CALL_RETURN_OFFSET": abi.CALL_RETURN_OFFSET,
    "NOTE_TYPE": abi.NOTE_TYPE,
    "LOAD_FIRST": abi.LOAD_FIRST,
    "BOOT_STACK_TOP": abi.BOOT_STACK_TOP,
    "DEBUG_EXIT_PORT": abi.DEBUG_EXIT_PORT,
}


def groups(
    calls: Iterable[abi.Call] = abi.CALLS, features: Mapping[str, int] = NO_FEATURES
) -> dict[str, dict[str, int]]:
    """The constants by heading, in the order in which the headers print them. features: plugins' own bits by name."""
    return {
        "Scalars": dict(SCALARS),
        "The signature, as CPUID returns it": {
            f"SIGNATURE_{register}": int.from_bytes(abi.SIGNATURE[at : at + 4], "little")
            for register, at in (("EBX", 0), ("ECX", 4), ("EDX", 8))
        },
        "Feature masks": {f"FEATURE_{name.upper()}": 1 << bit for name, bit in {**abi.FEATURES, **features}.items()},
        "Hypercall numbers": {f"CALL_{call.name.upper()}": call.number for call in calls},
        "Errno: a failed call returns the value negated": dict(abi.ERRNO),
        "Flags of map and page_update": dict(abi.MAP_FLAGS),
        "Flags of block_info": dict(abi.BLOCK_FLAGS),
        "Segment bases": dict(abi.SEGMENT_BASES),
        "Selectors": dict(abi.SELECTORS),
        "Offsets and sizes of structures, in bytes": {
            name: value
            for struct in abi.STRUCTS
            for name, value in (
                *((f"{struct.name}_{field}".upper(), struct.offset(field)) for field, _ in struct.fields),
                (f"{struct.name}_SIZE".upper(), struct.size_bytes),
            )
        },
    }


def constants(calls: Iterable[abi.Call] = abi.CALLS, features: Mapping[str, int] = NO_FEATURES) -> dict[str, int]:
    """Every name and its value. Raises ValueError where two groups claim one name."""
    table: dict[str, int] = {}
    for heading, group in groups(calls, features).items():
        for name, value in group.items():
            if name in table:
                raise ValueError(f"{name} of {heading!r} is taken: {table[name]:#x}")
            table[name] = value
    return table

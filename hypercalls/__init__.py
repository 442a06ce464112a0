"""The hypercall side: the decorator, the argument types, and the plugin that a package of calls is.

from hypercalls import GuestString, hypercall

@hypercall(0x8001, "greet")
def greet(machine, name: GuestString) -> int:
    machine.console.write(f"hello {name}")
    return len(name)
"""

from hypercalls.arguments import (
    U8,
    U16,
    U32,
    U64,
    BufferOut,
    BytesIn,
    GuestBuffer,
    GuestBytes,
    GuestString,
    Integer,
    RecordsIn,
    StringIn,
)
from hypercalls.call import Hypercall, hypercall
from hypercalls.document import Document, DocumentIn, DocumentOut, ReplyDocument
from hypercalls.feature import Feature
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin
from hypercalls.registry import Registry
from pv.options import Option

__all__ = [
    "U8",
    "U16",
    "U32",
    "U64",
    "BufferOut",
    "BytesIn",
    "Document",
    "DocumentIn",
    "DocumentOut",
    "Feature",
    "GuestBuffer",
    "GuestBytes",
    "GuestString",
    "Hypercall",
    "Integer",
    "MachineView",
    "Option",
    "Plugin",
    "RecordsIn",
    "Registry",
    "ReplyDocument",
    "StringIn",
    "hypercall",
]

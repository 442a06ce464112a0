"""A pvkit plugin: a key-value store for guests, with text as keys and msgpack documents as values.

Each machine has a store of its own. `kvstore.limit` bounds it; `kvstore.read_only` refuses changes.
"""

from pathlib import Path
from typing import Any, Final

from hypercalls import Feature, MachineView, Option, Plugin
from pvkit_kvstore.calls import CALLS
from pvkit_kvstore.routines import add_routines
from pvkit_kvstore.store import Store

HERE: Final = Path(__file__).parent


def set_up(machine: MachineView) -> Store:
    """The store of one machine, which its handlers find in machine.state["kvstore"]."""
    return Store(machine.options["kvstore.limit"], read_only=machine.options["kvstore.read_only"])


def tear_down(machine: MachineView) -> None:
    """The machine ends: its documents are dropped."""
    machine.state["kvstore"].clear()


def restore(machine: MachineView, saved: list[list[Any]]) -> None:
    """A snapshot is put back: the machine's store holds what it held then."""
    machine.state["kvstore"].restore(saved)


PLUGIN: Final = Plugin(
    name="kvstore",
    version="1.0",
    calls=CALLS,
    features=(Feature("kvstore", 40),),
    options=(
        Option("limit", int, default=64, least=1, most=4096, help="most documents kept"),
        Option("read_only", bool, default=False, help="refuse what changes the store"),
    ),
    on_set_up=set_up,
    on_tear_down=tear_down,
    c_include=HERE / "include",
    c_sources=(HERE / "c" / "kvstore.c",),
    guest_routines=add_routines,
    on_save=Store.save,
    on_restore=restore,
)

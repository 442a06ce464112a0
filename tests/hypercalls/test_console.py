from errno import E2BIG, EFAULT, ENOSPC

from hypercalls import console
from pv.console import Console


def test_bytes_reach_the_console(machine):
    machine.add(console.PLUGIN)
    machine.memory.write(0x100, b"caf\xc3\xa9\xff")
    assert machine.ask("console_write", 0x100, 6) == 6
    assert machine.ask("console_write", 0x100, 0) == 0
    assert machine.console.text == b"caf\xc3\xa9\xff"


def test_a_full_console_says_so(machine):
    machine.add(console.PLUGIN)
    machine.console = Console(most_bytes=5)
    assert machine.ask("console_write", 0x100, 3) == 3
    assert machine.ask("console_write", 0x100, 3) == 2
    assert machine.errno("console_write", 0x100, 3) == ENOSPC
    assert machine.ask("console_write", 0x100, 0) == 0


def test_what_is_not_memory_is_not_written(machine):
    machine.add(console.PLUGIN)
    assert machine.errno("console_write", machine.memory.size_bytes - 1, 2) == EFAULT
    assert machine.errno("console_write", 0, (1 << 64) - 1) == E2BIG
    assert machine.console.text == b""

"""The smallest paravirtual guest: prints a line, exits with 0."""

from __future__ import annotations

import sys
from pathlib import Path

from guest_sdk import Guest


def build() -> bytes:
    """The guest as an ELF file."""
    guest = Guest("hello", paravirt=True)
    guest.string("message", "hello, world\n")
    guest.asm("main:")
    guest.call.console_write("message", "message_bytes")
    guest.asm("""
        xor eax, eax            ; the status
        ret
    """)
    return guest.build()


def main() -> int:
    """Write the guest to the file named on the command line."""
    if len(sys.argv) != 2:
        print("usage: python -m guest_sdk.examples.hello FILE", file=sys.stderr)
        return 2
    try:
        Path(sys.argv[1]).write_bytes(build())
    except OSError as error:
        print(f"cannot write {sys.argv[1]}: {error.strerror}: name a file in a directory you own", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

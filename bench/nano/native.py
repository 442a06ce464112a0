"""What does a row cost with the guest alone on the engine? The unmodified guest's bytes at CPL 0, and no monitor.

It is Unicorn with what Unicorn leaves to its user done in C: events through the guest's IDT, SYSCALL by its MSRs, a bus
without chips (pv/engines/unicorn/native/bare.c). So it is a native PC as far as this engine can be one.
"""

from __future__ import annotations

import threading
from typing import Final

from guest_sdk.abi import DEBUG_EXIT_PORT
from pv.boot import start_guest
from pv.engines.unicorn import BareEngine, EngineError
from pv.loaders import load
from pv.memory import GuestMemory, parse_size
from pv.report.comparison import WELL

TIMEOUT_S: Final = 60.0
TRANSLATION_BUFFER_BYTES: Final = 1 << 20


def run_native(image: bytes, memory_size: str) -> tuple[float, str, str]:
    """(host seconds inside the engine, what it printed, how it ended: WELL or what went wrong)."""
    memory = GuestMemory(parse_size(memory_size))
    engine = BareEngine(memory, exit_port=DEBUG_EXIT_PORT, translation_buffer_bytes=TRANSLATION_BUFFER_BYTES)
    watchdog = threading.Timer(TIMEOUT_S, engine.stop)
    try:
        start_guest(engine, memory, load(image, memory.size_bytes), "guest tables")
        watchdog.start()
        seconds = engine.run()
        ended = WELL if engine.status == 0 else f"status {engine.status}"
        # setting COM1's rate writes to the port of its data: no text
        return seconds, engine.console.decode("ascii", "replace").lstrip("\x01"), ended
    except EngineError as gave_up:
        return 0.0, "", str(gave_up)
    finally:
        watchdog.cancel()
        engine.close()
        memory.close()

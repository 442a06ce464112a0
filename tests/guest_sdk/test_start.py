"""What runs before and after main, on a bare processor."""

from __future__ import annotations

import pytest

from guest_sdk import AssemblyError, Guest, abi
from guest_sdk.start import STACK_BYTES, STACK_LABEL, start_code
from tests.guest_sdk.emulator import run


@pytest.mark.parametrize("paravirt", [True, False])
def test_mains_result_is_the_status(paravirt: bool) -> None:
    ran = run(Guest("test", paravirt=paravirt).asm("main: mov eax, 42\nret").build())
    assert ran.status == 42
    assert ran.calls == ([abi.BY_NAME["exit"].number] if paravirt else [])


@pytest.mark.parametrize("paravirt", [True, False])
def test_main_runs_on_the_stack_in_bss(paravirt: bool) -> None:
    guest = Guest("test", paravirt=paravirt)
    guest.asm(f"main: mov rax, {STACK_LABEL} + {STACK_BYTES} - 8\nsub rax, rsp\nret")
    assert run(guest.build()).status == 0


def test_the_hypercall_page_is_enabled_before_main() -> None:
    text = start_code(paravirt=True)
    assert text.index("wrmsr") < text.index("call main")
    assert "wrmsr" not in start_code(paravirt=False)


def test_a_guest_may_bring_its_own_start() -> None:
    guest = Guest("test", paravirt=False).asm("_start: mov al, 7\nout DEBUG_EXIT_PORT, al\nhlt")
    assert STACK_LABEL not in {symbol.name for symbol in guest.link().symbols}
    assert run(guest.build()).status == 7


def test_the_stacks_label_is_taken() -> None:
    guest = Guest("test", paravirt=False).asm("main: ret").bss(STACK_LABEL, 16)
    with pytest.raises(AssemblyError, match="start code's own"):
        guest.build()

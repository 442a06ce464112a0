"""One emitter a hypercall: registers, by place and by name, and none overwritten before it is read."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import AssemblyError, Guest, abi
from guest_sdk.calls import WORKING, Argument, load_registers


class Recorder:
    """A guest that keeps the lines it is given."""

    def __init__(self) -> None:
        self.guest = Guest("test", paravirt=True, calls=[abi.Call(0x8001, "greet", (("name", 64),), "0")])
        self.lines: list[str] = []
        self.guest.call._asm = lambda text: self.lines.extend(text.splitlines())


def test_a_call_through_the_page() -> None:
    recorder = Recorder()
    recorder.guest.call.console_write("message", 12)
    assert recorder.lines == ["mov rdi, message", "mov esi, 0xc", "mov eax, 0x1010", "call hypercall_page"]


def test_inline_named_and_raw() -> None:
    recorder = Recorder()
    recorder.guest.call.map(gpa="[table]", gva=-1, flags="MAP_PRESENT | MAP_WRITE", pages="rax", inline=True)
    recorder.guest.call.raw("CALL_EXIT", 1 << 32)
    recorder.guest.call.greet("rdi")
    assert recorder.lines == [
        "mov rdx, rax",
        "mov rdi, -0x1",
        "mov rsi, qword ptr [table]",
        "mov r10, MAP_PRESENT | MAP_WRITE",
        "mov eax, 0x1031",
        "vmcall",
        "mov rdi, 0x100000000",
        "mov rax, CALL_EXIT",
        "call hypercall_page",
        "mov eax, 0x8001",
        "call hypercall_page",
    ]


@pytest.mark.parametrize("call", abi.CALLS, ids=lambda call: call.name)
def test_every_call_assembles(call: abi.Call) -> None:
    guest = Guest("test", paravirt=True)
    guest.asm("main:")
    getattr(guest.call, call.name)(*range(len(call.arguments)))
    assert guest.build().startswith(b"\x7fELF")
    assert call.name in dir(guest.call)
    assert call.result in getattr(guest.call, call.name).__doc__


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((1,), {}), ((1, 2, 3), {}), ((1, 2), {"data_bytes": 3}), ((1,), {"size": 3}), ((), {"data_gpa": 1})],
)
def test_arguments_must_be_those_of_the_call(arguments: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(AssemblyError, match=r"console_write takes \(data_gpa, data_bytes\)"):
        Recorder().guest.call.console_write(*arguments, **named)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [1 << 64, -(1 << 63) - 1, "edi", "rax + 1", "[rbx]", "[a + rbx*8]", "1 +"])
def test_arguments_that_cannot_be_loaded(value: Argument) -> None:
    with pytest.raises(AssemblyError):
        Recorder().guest.call.exit(value)


def test_no_such_call_and_too_many_arguments() -> None:
    recorder = Recorder()
    with pytest.raises(AttributeError, match="no hypercall 'frobnicate'"):
        recorder.guest.call.frobnicate()
    with pytest.raises(AssemblyError, match="7 arguments"):
        recorder.guest.call.raw(1, *range(7))


def test_an_unmodified_guest_has_no_hypercalls() -> None:
    with pytest.raises(AssemblyError, match="paravirt=True"):
        Guest("test", paravirt=False).call.exit(0)


registers = st.sampled_from(WORKING)


@given(st.lists(registers, max_size=6), registers)
def test_moves_happen_all_at_once(sources: list[str], number: str) -> None:
    wanted = [*zip(abi.ARGUMENT_REGISTERS, sources, strict=False), ("rax", number)]
    state = {name: name for name in WORKING}
    for line in load_registers(wanted):
        verb, to, of = line.replace(",", "").split()
        if verb == "xchg":
            state[to], state[of] = state[of], state[to]
        else:
            state[to] = state[of]
    assert [state[target] for target, _ in wanted] == [source for _, source in wanted]


def test_every_cycle_of_three_is_turned() -> None:
    for order in itertools.permutations(("rdi", "rsi", "rdx")):
        state = {name: name for name in WORKING}
        for line in load_registers(list(zip(("rdi", "rsi", "rdx"), order, strict=True))):
            verb, to, of = line.replace(",", "").split()
            state[to], state[of] = state[of], (state[to] if verb == "xchg" else state[of])
        assert (state["rdi"], state["rsi"], state["rdx"]) == order


def test_registers_come_before_what_may_overwrite_them() -> None:
    assert load_registers([("rdi", 5), ("rsi", "rdi")]) == ["mov rsi, rdi", "mov edi, 0x5"]


class Greet:
    """A hypercall as a plugin makes one."""

    number, name, arguments, result = 0x8001, "greet", (("name_gpa", 64), ("name_bytes", 64)), "bytes"


def test_a_plugins_calls_are_known_by_name() -> None:
    guest = Guest("test", paravirt=True, calls=[Greet()])
    lines: list[str] = []
    guest.call._asm = lambda text: lines.extend(text.splitlines())
    guest.call.greet("name", 5)
    guest.call.abi_version()
    assert lines[:3] == ["mov rdi, name", "mov esi, 0x5", "mov eax, 0x8001"]
    assert "mov eax, 0x1000" in lines


def test_an_unknown_call_says_how_to_make_it() -> None:
    with pytest.raises(AttributeError, match=r"no hypercall 'greet' in this guest's table; use call.raw"):
        Guest("test", paravirt=True).call.greet(1)

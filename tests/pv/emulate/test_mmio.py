"""An instruction does to a device what the processor does to memory: each runs once on either, and all is compared."""

from __future__ import annotations

from typing import Any, Final

import pytest

from pv.devices.bus import Window
from pv.emulate import mmio
from pv.exits import Reply, StopWhy, stop
from tests.pv.engines.unicorn.guests import DATA, PF, STUBS, USER, TrapGuest, to_user

GPA: Final = 0xD000_0000  # where no memory is
PAGE: Final = 0x1000
STATUS: Final = 0x8D5 | 0x400
PATTERN: Final = bytes((i * 37 + 11) % 256 for i in range(PAGE))
USED: Final = range(8)  # RAX to RDI


class Scratch:
    """A device that is memory, and keeps what it was asked."""

    def __init__(self) -> None:
        self.data = bytearray(PATTERN)
        self.seen: list[tuple[str, int, int]] = []
        self.reply: Reply | None = None

    def read(self, offset: int, size: int) -> int:
        assert size in (1, 2, 4, 8)
        self.seen.append(("read", offset, size))
        return int.from_bytes(self.data[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> Reply | None:
        assert size in (1, 2, 4, 8)
        assert 0 <= value < 1 << 8 * size
        self.seen.append(("write", offset, size))
        self.data[offset : offset + size] = value.to_bytes(size, "little")
        return self.reply


class DeviceGuest(TrapGuest):
    """`code` with a device (or memory) at DATA, memory in the pages around it, all filled with PATTERN."""

    def __init__(self, code: str, *, device: bool = True, pieces: Any = None) -> None:
        super().__init__(f"{code}; mov al, 0xee; out 0xf4, al", pieces)
        self.scratch = Scratch()
        for page in (-PAGE, 0, PAGE):
            self.memory.write(DATA + page, PATTERN)
        self.answer(
            *mmio.mmio_rows(self.vcpu, [Window("test", GPA, GPA + 0xFFF, self.scratch.read, self.scratch.write)])
        )
        if device:
            at = self.page_entry(DATA)
            self.memory.write_uint(at, 8, GPA | self.word(at) & 0xFFF)

    def contents(self, *, device: bool) -> bytes:
        around = self.memory.read(DATA - PAGE, 3 * PAGE)
        return around[:PAGE] + bytes(self.scratch.data) + around[2 * PAGE :] if device else around


SET_UP: Final = (
    f"mov rbx, {DATA}; mov rcx, 0x8182838485868788; mov rdx, 0xf1f2f3f4f5f60708; "
    f"mov rsi, {DATA}; mov rdi, {DATA}; mov rax, 0x7071727374757677; mov rbp, 5; "
)


def outcome(code: str, *, device: bool) -> tuple[list[int], int, bytes, dict[tuple[str, str], int], Scratch]:
    """Registers and flags after `code`, all three pages, the MMIO exits, and the device."""
    end = "pushfq; pop r15; mov r14, rax; "
    with DeviceGuest(SET_UP + code + "; " + end, device=device) as guest:
        result = guest.run()
        assert (result.why, result.status) == (StopWhy.EXITED, 0xEE), result.summary
        registers = [guest.vcpu.get(14), *(guest.vcpu.get(number) for number in USED[1:])]
        exits = {kind: count for kind, count in result.by_key.items() if kind[0] == "MMIO"}
        return registers, guest.vcpu.get(15) & STATUS, guest.contents(device=device), exits, guest.scratch


def same(code: str) -> tuple[dict[tuple[str, str], int], Scratch]:
    """Run `code` on memory and on the device; what the device saw."""
    registers, flags, contents, none, _ = outcome(code, device=False)
    assert none == {}
    emulated = outcome(code, device=True)
    assert emulated[0] == registers
    assert emulated[1] == flags
    assert emulated[2] == contents
    return emulated[3], emulated[4]


WIDTHS: Final = {"byte": ("cl", "0x83"), "word": ("cx", "0x8384"), "dword": ("ecx", "0x83848586"),
                 "qword": ("rcx", "0x12345678")}  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["mov", "add", "adc", "sub", "sbb", "and", "or", "xor", "cmp", "test"])
def test_two_operands(name: str, width: str) -> None:
    register, immediate = WIDTHS[width]
    where = f"{width} ptr [rbx + 0x21]"
    one = {("MMIO", f"gpa {GPA + 0x21:#x} {'read' if name in ('cmp', 'test') else 'write'}"): 1}
    assert same(f"stc; {name} {where}, {register}")[0] == one
    if width in ("byte", "dword"):
        assert same(f"clc; {name} {where}, {immediate}")[0] == one
    if name != "test":
        assert same(f"clc; {name} {register}, {where}")[0] == {("MMIO", f"gpa {GPA + 0x21:#x} read"): 1}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["inc", "dec", "neg", "not"])
@pytest.mark.parametrize("lock", ["", "lock "])
def test_one_operand(name: str, width: str, lock: str) -> None:
    if (name, lock) == ("neg", "lock "):
        pytest.skip("the engine's LOCK NEG sets the flags of its operand, not of its result: see the next test")
    exits, scratch = same(f"stc; {lock}{name} {width} ptr [rbx + 8]")
    assert exits == {("MMIO", f"gpa {GPA + 8:#x} write"): 1}
    assert [kind for kind, _, _ in scratch.seen] == ["read", "write"]


def test_locked_negation_has_the_flags_of_its_result() -> None:
    _, flags, contents, _, _ = outcome("stc; lock neg dword ptr [rbx + 8]", device=True)
    plain = outcome("stc; neg dword ptr [rbx + 8]", device=False)
    assert (flags, contents) == (plain[1], plain[2])


@pytest.mark.parametrize("register", ["al", "ah", "dh", "sil", "r9b", "cx", "r8w", "edx", "rdx"])
def test_exchange_and_move_take_any_register(register: str) -> None:
    set_up = "mov r8, rdx; mov r9, rcx; "
    after = "; mov rdx, r8; mov rcx, r9" if register.startswith("r") and register[1].isdigit() else ""
    for code in (f"xchg [rbx + 0x40], {register}", f"mov {register}, [rbx + 0x40]", f"mov [rbx + 0x40], {register}"):
        same(set_up + code + after)


@pytest.mark.parametrize(
    "code",
    [
        "movzx eax, byte ptr [rbx + 3]", "movzx ax, byte ptr [rbx + 3]", "movzx rax, word ptr [rbx + 3]",
        "movsx eax, byte ptr [rbx + 5]", "movsx ax, byte ptr [rbx + 5]", "movsx rax, word ptr [rbx + 5]",
        "movsxd rax, dword ptr [rbx + 6]", "movsx rax, byte ptr [rbx + 6]", "mov eax, [rbx + rbp*8 + 0x10]",
        "mov eax, [ebx + 4]", f"mov eax, [{DATA + 12}]", "lock xor dword ptr [rbx], ecx",
        f".byte 0xa1; .quad {DATA + 4}", f".byte 0x48, 0xa3; .quad {DATA + 4}", "test [rbx + 1], cl",
    ],
)  # fmt: skip
def test_other_forms(code: str) -> None:
    exits, _ = same(code)
    assert sum(exits.values()) == 1


@pytest.mark.parametrize("name", ["bt", "bts", "btr", "btc"])
@pytest.mark.parametrize("offset", [7, 33, 700, -40])
def test_bits_by_number_reach_beyond_the_operand(name: str, offset: int) -> None:
    register, width = (("edx", "dword"), ("rdx", "qword"), ("dx", "word"))[offset % 3]
    exits, _ = same(f"mov rdx, {offset}; {name} {width} ptr [rbx + 0x400], {register}")
    assert sum(exits.values()) == 1


@pytest.mark.parametrize("name", ["bt", "bts", "btr", "btc"])
def test_bits_by_immediate_stay_within(name: str) -> None:
    for position in (0, 63):
        exits, _ = same(f"{name} dword ptr [rbx + 0x20], {position}")
        assert sum(exits.values()) == 1


@pytest.mark.parametrize("width", "bwdq")
@pytest.mark.parametrize("direction", ["cld", "std"])
def test_strings_an_element_an_exit(width: str, direction: str) -> None:
    size = {"b": 1, "w": 2, "d": 4, "q": 8}[width]
    start = f"{direction}; lea rdi, [rbx + 0x100]; lea rsi, [rbx - 0x800]; mov ecx, 5; "
    exits, _ = same(start + f"rep stos{width}")
    assert sum(exits.values()) == 5
    movs = {"b": ".byte 0xa4", "w": ".byte 0x66, 0xa5", "d": ".byte 0xa5", "q": ".byte 0x48, 0xa5"}[width]
    exits, scratch = same(f"{start}.byte 0xf3; {movs}")
    assert sum(exits.values()) == 5
    assert {entry[2] for entry in scratch.seen} == {size}
    exits, _ = same(f"{start}xchg rsi, rdi; .byte 0xf3; {movs}")
    assert sum(exits.values()) == 5
    assert all(text.endswith("read") for _, text in exits)
    for one in (f"stos{width}", f"mov rsi, rdi; lods{width}", movs):
        exits, _ = same(start + one)
        assert sum(exits.values()) == 1


def test_a_string_from_device_to_device_is_one_exit_an_element() -> None:
    exits, scratch = same("lea rsi, [rbx + 0x10]; lea rdi, [rbx + 0x80]; mov ecx, 3; cld; .byte 0xf3, 0xa5")
    assert sum(exits.values()) == 3
    assert scratch.seen == [
        entry for i in range(3) for entry in (("read", 0x10 + 4 * i, 4), ("write", 0x80 + 4 * i, 4))
    ]


def test_a_string_with_an_address_size_of_32_bits_keeps_pointers_below_4_gib() -> None:
    exits, _ = same(
        "mov rdi, 0xffffffff00000000; lea edi, [ebx + 0x10]; mov rcx, 0x700000002; cld; .byte 0x67; rep stosd"
    )
    assert sum(exits.values()) == 2


def test_a_string_runs_on_into_memory() -> None:
    exits, _ = same("lea rdi, [rbx + 0xff8]; mov ecx, 4; cld; rep stosd")
    assert sum(exits.values()) == 2


@pytest.mark.parametrize(
    "code",
    [
        "mov [rbx + 0xffd], rcx", "mov [rbx - 3], rcx", "mov rax, [rbx + 0xffd]", "mov rax, [rbx - 3]",
        "add [rbx + 0xfff], ecx", "xchg [rbx - 1], cx", "add [rbx - 7], rcx", "bts dword ptr [rbx + 0xffe], 17",
    ],
)  # fmt: skip
def test_an_operand_across_pages_is_made_of_both(code: str) -> None:
    exits, _ = same(code)
    assert sum(exits.values()) == 1


def test_three_bytes_are_three_cycles() -> None:
    _, scratch = same("mov [rbx + 0xffd], ecx")
    assert scratch.seen == [("write", 0xFFD, 1), ("write", 0xFFE, 1), ("write", 0xFFF, 1)]


def test_segment_bases_count() -> None:
    with DeviceGuest(
        "mov ecx, 0xc0000100; mov eax, 0x130000; xor edx, edx; wrmsr; mov eax, fs:[0x20]; mov r12, rax"
    ) as guest:
        guest.run()
        assert guest.vcpu.get(12) == int.from_bytes(PATTERN[0x20:0x24], "little")


def test_a_reply_of_the_device_ends_the_access() -> None:
    with DeviceGuest(f"mov ebx, {DATA}; mov [rbx], ecx; mov al, 1; out 0xf4, al") as guest:
        guest.scratch.reply = stop(7)
        assert guest.run().status == 7


class HardwareDeviceGuest(DeviceGuest):
    technique = "hardware"


@pytest.mark.parametrize("kind", [DeviceGuest, HardwareDeviceGuest])
@pytest.mark.parametrize("no_execute", [0, 1 << 63])
def test_code_that_is_written_over_is_run_as_it_is_then(kind: type[DeviceGuest], no_execute: int) -> None:
    """The monitor's stores are seen as the processor's own are, through whichever mapping: kernels load and patch what
    they run through one that cannot be executed."""
    store = f"lea rsi, [rbx + 5]; mov edi, {DATA + PAGE + 1}; movsb"
    code = f"mov rbp, {USER}; call rbp; mov r12, rax; {store}; call rbp; mov r13, rax"
    with kind(SET_UP + code, pieces={USER: "mov eax, 0x11; ret"}) as guest:
        guest.memory.write_uint(guest.page_entry(DATA + PAGE), 8, guest.word(guest.page_entry(USER)) | no_execute)
        assert guest.run().status == 0xEE
        assert guest.scratch.seen == [("read", 5, 1)]
        assert (guest.vcpu.get(12), guest.vcpu.get(13)) == (0x11, PATTERN[5])


# ---- what the guest's own tables say comes first ----


def test_a_page_the_guest_may_not_write_faults_before_the_device_is_asked() -> None:
    """CR0.WP is set. A read-modify-write faults as a write, as on a processor."""
    for code in ("mov [rbx], ecx", "or dword ptr [rbx], 1", "xchg [rbx], ecx", "lock inc dword ptr [rbx]", "stosd"):
        with DeviceGuest(SET_UP + code) as guest:
            guest.protect(DATA, clear=2)
            result = guest.run()
            assert (result.status, guest.vcpu.virtual.cr2) == (PF, DATA)
            assert guest.frame(error=True).error == 3
            assert guest.scratch.seen == []
    with DeviceGuest(SET_UP + "cmp [rbx], ecx") as guest:
        guest.protect(DATA, clear=2)
        assert guest.run().status == 0xEE


@pytest.mark.parametrize("kind", [DeviceGuest, HardwareDeviceGuest])
@pytest.mark.parametrize(
    ("code", "first", "fault", "cycles"),
    [
        ("rep stosd", f"mov edi, {DATA + PAGE - 6}", DATA + PAGE, 1),  # the second element reaches into the absent page
        ("std; rep movsb", f"mov edi, {DATA + 1}; mov esi, {DATA + 0x10}", DATA - 1, 4),
        ("rep movsb", f"mov esi, {DATA + PAGE - 2}; mov edi, {DATA + 0x20}", DATA + PAGE, 4),
    ],
)  # fmt: skip
def test_a_string_that_faults_midway_keeps_what_it_has_done(
    kind: type[DeviceGuest], code: str, first: str, fault: int, cycles: int
) -> None:
    done = 1 if "stos" in code else 2
    with kind(f"{SET_UP}{first}; mov ecx, 9; {code}") as guest:
        for page in (-PAGE, PAGE):
            guest.protect(DATA + page, clear=1)
        result = guest.run()
        assert (result.status, guest.vcpu.virtual.cr2) == (PF, fault)
        step = -1 if "std" in code else 4 if "stos" in code else 1
        destination = int(first.partition("edi, ")[2].partition(";")[0])
        assert (guest.vcpu.rcx, guest.vcpu.rdi) == (9 - done, destination + step * done)
        assert len(guest.scratch.seen) == cycles


def test_user_mode_needs_the_u_bit() -> None:
    for clear, status in ((4, PF), (0, 0x55)):
        user = f"mov ebx, {DATA}; mov eax, [rbx + 4]; int 0x55"
        with DeviceGuest(to_user() + "iretq", pieces={USER: user}) as guest:
            guest.gate(0x55, dpl=3)
            guest.protect(DATA, clear=clear)
            assert guest.run().status == status
            assert guest.scratch.seen == ([] if clear else [("read", 4, 4)])


def test_the_second_page_of_a_store_is_checked_before_the_first_is_written() -> None:
    with DeviceGuest(SET_UP + "mov [rbx + 0xffd], rcx") as guest:
        guest.protect(DATA + PAGE, clear=3)
        result = guest.run()
        assert (result.status, guest.vcpu.virtual.cr2) == (PF, DATA + PAGE)
        assert guest.scratch.data == PATTERN


@pytest.mark.parametrize("kind", [DeviceGuest, HardwareDeviceGuest])
@pytest.mark.parametrize(
    "code",
    [
        "mov [rbx + 0xffd], rcx", "mov rcx, [rbx + 0xffd]", f"mov edi, {DATA + PAGE}; movsb",
        f"mov esp, {DATA + PAGE + 8}; push qword ptr [rbx]",
    ],
)  # fmt: skip
def test_where_neither_memory_nor_a_device_is_the_guest_is_stopped_before_the_device_is_asked(
    kind: type[DeviceGuest], code: str
) -> None:
    with kind(SET_UP + code) as guest:
        entry, hole = guest.page_entry(DATA + PAGE), GPA + 0x1000_0000
        guest.memory.write_uint(entry, 8, hole | guest.word(entry) & 0xFFF)
        result = guest.run()
        assert result.why is StopWhy.UNHANDLED
        assert f"no memory and no device at gpa {hole:#x}, which gva {DATA + PAGE:#x} maps" in result.detail
        assert guest.scratch.seen == []
        assert result.rip == guest.vcpu.rip < STUBS


def test_accessed_and_dirty_are_set() -> None:
    with DeviceGuest(SET_UP + "or dword ptr [rbx], 1") as guest:
        guest.protect(DATA, clear=0x60)
        guest.run()
        assert guest.word(guest.page_entry(DATA)) & 0x60 == 0x60


def test_an_instruction_that_is_not_emulated_stops_the_guest_with_a_line() -> None:
    for code in ("paddd xmm0, [rbx]", "movq mm0, [rbx]", "fld dword ptr [rbx]", "rep insb", "mov word ptr [rbx], ds"):
        with DeviceGuest(SET_UP + code) as guest:
            result = guest.run()
            assert result.why is StopWhy.UNHANDLED
            assert f"accesses the device at gpa {GPA:#x}" in result.detail


def test_code_is_not_fetched_from_a_device() -> None:
    with DeviceGuest(SET_UP + "jmp rbx") as guest:
        guest.protect(DATA, clear=0)
        result = guest.run()
        assert result.why is StopWhy.UNHANDLED
        assert f"instruction fetch from the device at gpa {GPA:#x}" in result.detail


def test_windows_are_whole_pages() -> None:
    for first, last in ((1, 0xFFF), (0, 0xFFE), (0x1000, 0xFFF)):
        with pytest.raises(ValueError, match="whole pages"):
            Window("test", first, last, Scratch().read, Scratch().write)

"""LAR, LSL, VERR, VERW and MOV from CS and SS: by the manual, and against the engine at CPL 0, which has a GDT then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pv.dispatch import Row
from pv.emulate.alu import STATUS, ZF
from pv.emulate.mmio_decode import decode_translated
from pv.emulate.segment_queries import LAR_TYPES, LSL_TYPES, segment_query_rows
from pv.engines.base import GuestFault
from pv.exits import NEXT, Reason, StopWhy, stop
from tests.differential.guests import BareGuest
from tests.differential.segment_errata import ERRATA, Erratum, by_manual
from tests.pv.emulate.recording_vcpu import GDT, LDT, Guest, descriptor
from tests.pv.engines.unicorn.guests import CODE, DATA

OPERAND = 0x2000
ENDED = 0x99
NATIVE_GDT, NATIVE_LDT = DATA, DATA + 0x400
ENTRIES = 8
FLAGS = ZF | STATUS
RCX, RDX, RBX = 1, 2, 3


@pytest.fixture
def queries(guest: Guest) -> Guest:
    guest.add(segment_query_rows(guest.vcpu, "test"))
    return guest


def ask(guest: Guest, code: str) -> tuple[bool, int]:
    """ZF, and RCX, after an instruction."""
    assert guest.execute(code, decoder=decode_translated) is NEXT
    return bool(guest.vcpu.rflags & ZF), guest.vcpu.rcx


LAR_ECX_EDX, LSL_ECX_EDX, VERR_DX, VERW_DX = "0f02ca", "0f03ca", "0f00e2", "0f00ea"


@pytest.mark.parametrize(
    ("code", "cs", "ss"),
    [("8cc9", 8, 0x10), ("668cc9", 0xFFFF_FFFF_FFFF_0008, 0xFFFF_FFFF_FFFF_0010), ("488cc9", 8, 0x10)],
)
def test_mov_from_cs_and_ss_shows_the_guests_own(queries: Guest, code: str, cs: int, ss: int) -> None:
    for opcode, selector in ((code, cs), (code.replace("c9", "d1"), ss)):
        queries.vcpu.rcx = (1 << 64) - 1
        assert queries.execute(opcode, decoder=decode_translated) is NEXT
        assert queries.vcpu.rcx == selector


def test_mov_to_memory_stores_two_bytes(queries: Guest) -> None:
    queries.memory.write(OPERAND, b"\xaa" * 4)
    queries.vcpu.rax = OPERAND
    assert queries.execute("488c08", decoder=decode_translated) is NEXT
    assert queries.memory.read(OPERAND, 4) == b"\x08\x00\xaa\xaa"


def test_a_limit_is_scaled_and_cut(queries: Guest) -> None:
    queries.memory.write(GDT + 8, descriptor(0, 0xABCDE, 0x93, 0xC) + descriptor(0, 0xABCDE, 0x93, 0x4))
    queries.vcpu.rdx = 8
    assert ask(queries, LSL_ECX_EDX) == (True, 0xABCD_EFFF)
    queries.vcpu.rcx = (1 << 64) - 1
    assert ask(queries, "66" + LSL_ECX_EDX) == (True, 0xFFFF_FFFF_FFFF_EFFF)
    assert ask(queries, "48" + LSL_ECX_EDX) == (True, 0xABCD_EFFF)
    queries.vcpu.rdx = 0x10
    assert ask(queries, LSL_ECX_EDX) == (True, 0xABCDE)


def test_access_rights_are_masked(queries: Guest) -> None:
    queries.memory.write(GDT + 8, descriptor(0x12345678, 0xFABCD, 0xFB, 0xA))
    queries.vcpu.rdx = 8
    assert ask(queries, LAR_ECX_EDX) == (True, 0x00A0_FB00)
    queries.vcpu.rcx = (1 << 64) - 1
    assert ask(queries, "66" + LAR_ECX_EDX) == (True, 0xFFFF_FFFF_FFFF_FB00)


@pytest.mark.parametrize("selector", [0, 1, 3, 0x100, 0xFFF8, 0x0C])
def test_null_and_what_no_table_has(queries: Guest, selector: int) -> None:
    """0x100 lies past the GDT's limit, 0x0C in an LDT that there is not."""
    queries.memory.write(GDT, b"\xff" * 0x200)
    for code in (LAR_ECX_EDX, LSL_ECX_EDX, VERR_DX, VERW_DX):
        queries.vcpu.rcx, queries.vcpu.rdx, queries.vcpu.rflags = 0x55, selector, FLAGS
        assert ask(queries, code) == (False, 0x55)
        assert queries.vcpu.rflags == FLAGS & ~ZF


@pytest.mark.parametrize("limit", [14, 15])
def test_the_limit_is_that_of_the_last_byte(queries: Guest, limit: int) -> None:
    queries.memory.write(GDT + 8, descriptor())
    queries.virtual.gdt_limit, queries.vcpu.rdx = limit, 8
    assert ask(queries, VERR_DX)[0] is (limit == 15)


def test_system_types_are_those_of_64_bit_mode(queries: Guest) -> None:
    for kind in range(16):
        queries.memory.write(GDT + 8, descriptor(access=0x80 | kind))
        queries.vcpu.rdx = 8
        assert ask(queries, LAR_ECX_EDX)[0] is (kind in LAR_TYPES)
        assert ask(queries, LSL_ECX_EDX)[0] is (kind in LSL_TYPES)
        assert ask(queries, VERR_DX)[0] is ask(queries, VERW_DX)[0] is False


def test_privilege_is_the_guests_and_the_selectors(queries: Guest) -> None:
    """DPL 0 is out of reach of RPL 3, and of CPL 3; conforming code is not, except for its data."""
    for access, kernel, requested, user in (
        (0x93, True, False, False),
        (0xF3, True, True, True),
        (0x9F, True, True, True),
    ):
        queries.memory.write(GDT + 8, descriptor(access=access))
        for selector, cpl, expected in ((8, 1, kernel), (0xB, 1, requested), (8, 3, user), (8, 0, kernel)):
            queries.vcpu.rdx, queries.vcpu.cpl = selector, cpl
            assert ask(queries, VERR_DX)[0] is expected
            assert ask(queries, LAR_ECX_EDX)[0] is expected


@pytest.mark.parametrize(
    ("access", "may"),
    [(0x90, "r-"), (0x92, "rw"), (0x98, "--"), (0x9A, "r-"), (0x10, "r-"), (0x12, "rw"), (0x1E, "r-")],
)
def test_reading_and_writing(queries: Guest, access: int, may: str) -> None:
    queries.memory.write(GDT + 8, descriptor(access=access))
    queries.vcpu.rdx = 8
    assert ask(queries, VERR_DX)[0] is (may[0] == "r")
    assert ask(queries, VERW_DX)[0] is (may[1] == "w")


def test_a_local_descriptor(queries: Guest) -> None:
    queries.virtual.ldt_selector, queries.virtual.ldt_base, queries.virtual.ldt_limit = 0x28, LDT, 0x1F
    queries.memory.write(LDT + 8, descriptor(0, 0x77, 0x93, 0x4))
    queries.vcpu.rdx = 0x0C
    assert ask(queries, LSL_ECX_EDX) == (True, 0x77)


def test_the_operand_and_the_table_may_fault(queries: Guest) -> None:
    queries.vcpu.rdx, queries.vcpu.rcx = queries.memory.size_bytes, 0x55
    with pytest.raises(GuestFault, match="14"):
        queries.execute("0f020a", decoder=decode_translated)  # lar ecx, [rdx]
    queries.vcpu.rdx, queries.virtual.gdt_base = 8, queries.memory.size_bytes
    with pytest.raises(GuestFault, match="14"):
        queries.execute(LAR_ECX_EDX, decoder=decode_translated)
    assert queries.vcpu.rcx == 0x55


class Question(NamedTuple):
    """code asks with selector RDX; descriptors are those of the table that it names. limit: of that table."""

    code: bytes
    selector: int
    descriptors: bytes
    limit: int
    rcx: int
    rflags: int


class Native:
    """A guest at its CPL 0 without intercepts, for many questions."""

    def __init__(self) -> None:
        self.guest = BareGuest("hlt")
        self.guest.answer(Row(Reason.HLT, 0, 0, lambda _exit: stop(ENDED), "test", "HLT"))

    def ask(self, question: Question) -> tuple[int, int]:
        """Status flags and RCX that are left."""
        vcpu, memory = self.guest.vcpu, self.guest.memory
        vcpu.write_code(CODE, question.code + b"\xf4")
        local = question.selector & 4
        memory.write(NATIVE_LDT if local else NATIVE_GDT, question.descriptors)
        virtual = vcpu.virtual
        virtual.gdt_base, virtual.gdt_limit = NATIVE_GDT, question.limit
        virtual.ldt_selector, virtual.ldt_base, virtual.ldt_limit = 0x28, NATIVE_LDT, question.limit
        vcpu.rcx, vcpu.rdx, vcpu.rflags = question.rcx, question.selector, question.rflags | 2
        vcpu.jump(CODE)
        why, status, detail = vcpu.run(0, 0)
        assert (why, status) == (StopWhy.EXITED, ENDED), detail
        return vcpu.rflags & FLAGS, vcpu.rcx


@pytest.fixture(scope="module")
def native() -> Iterator[Native]:
    made = Native()
    yield made
    made.guest.machine.close()


def handled(question: Question) -> tuple[int, int]:
    guest = Guest()
    guest.add(segment_query_rows(guest.vcpu, "test"))
    guest.memory.write(LDT if question.selector & 4 else GDT, question.descriptors)
    guest.virtual.gdt_limit = guest.virtual.ldt_limit = question.limit
    guest.virtual.ldt_base, guest.virtual.ldt_selector = LDT, 0x28
    guest.vcpu.rcx, guest.vcpu.rdx, guest.vcpu.rflags = question.rcx, question.selector, question.rflags | 2
    assert guest.execute(question.code, decoder=decode_translated) is NEXT
    return guest.vcpu.rflags & FLAGS, guest.vcpu.rcx


CODES = [
    bytes.fromhex(prefix + code) for code in (LAR_ECX_EDX, LSL_ECX_EDX, VERR_DX, VERW_DX) for prefix in ("", "66", "48")
]
QUESTIONS = st.builds(
    Question,
    st.sampled_from(CODES),
    st.integers(0, ENTRIES * 8 + 7),
    st.binary(min_size=ENTRIES * 8, max_size=ENTRIES * 8),
    st.sampled_from([ENTRIES * 8 - 1]) | st.integers(0, ENTRIES * 8 - 1),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, FLAGS).map(lambda flags: flags & FLAGS),
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(QUESTIONS)
@example(Question(CODES[0], 8, bytes(13) + b"\x83\x00\x00" + bytes(48), 63, 0, 0))  # type 3: errata
def test_the_processor_answers_alike(native: Native, question: Question) -> None:
    offset = question.selector & 0xFFF8
    high = int.from_bytes(question.descriptors[offset + 4 : offset + 8], "little")
    wanted = by_manual(question.code[-2], high, native.ask(question), question.rcx)
    assert handled(question) == wanted


@pytest.mark.parametrize("erratum", ERRATA, ids=lambda erratum: erratum.name)
def test_an_erratum_is_real_and_the_handler_follows_the_manual(native: Native, erratum: Erratum) -> None:
    assert erratum.manual.startswith("vol. ")
    code = bytes((0x0F, erratum.opcode, 0xCA))
    for kind in erratum.types:
        descriptors = (bytes(8) + descriptor(access=0x80 | kind)).ljust(ENTRIES * 8, b"\0")
        question = Question(code, 8, descriptors, ENTRIES * 8 - 1, 0x55, 0)
        assert native.ask(question)[0] & ZF
        assert handled(question) == (0, 0x55)

"""The modes of one 8254 counter as formulas, against the same modes counted clock by clock."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pv.devices.counter8254 import BCD_COUNTS, Access, Counter, Mode, from_bcd, to_bcd


def running(mode: Mode, count: int, *, bcd: bool = False, gate: bool = True) -> Counter:
    """A counter whose count was written before clock 0, which loads it."""
    counter = Counter(gate=gate)
    counter.program(mode, Access.LOW_THEN_HIGH, bcd=bcd)
    counter.write(count % 256, -1)
    counter.write(count // 256, -1)
    return counter


def outs(counter: Counter, clocks: int) -> str:
    return "".join("_^"[counter.out(clock)] for clock in range(clocks))


@pytest.mark.parametrize(
    ("mode", "count", "wave"),
    [
        (Mode.TERMINAL_COUNT, 4, "____^^^^^^"),
        (Mode.RATE, 4, "^^^_^^^_^^"),
        (Mode.RATE, 2, "^_^_^_^_^_"),
        (Mode.SQUARE_WAVE, 4, "^^__^^__^^"),
        (Mode.SQUARE_WAVE, 5, "^^^__^^^__"),
        (Mode.SOFTWARE_STROBE, 4, "^^^^_^^^^^"),
        (Mode.ONE_SHOT, 4, "^^^^^^^^^^"),
        (Mode.HARDWARE_STROBE, 4, "^^^^^^^^^^"),
    ],
)
def test_waveforms(mode: Mode, count: int, wave: str) -> None:
    assert outs(running(mode, count), len(wave)) == wave


@pytest.mark.parametrize(
    ("mode", "count", "values"),
    [
        (Mode.TERMINAL_COUNT, 3, [3, 2, 1, 0, 0xFFFF, 0xFFFE]),
        (Mode.RATE, 3, [3, 2, 1, 3, 2, 1]),
        (Mode.SQUARE_WAVE, 4, [4, 2, 4, 2, 4, 2]),
        (Mode.SQUARE_WAVE, 5, [4, 2, 0, 4, 2, 4]),
    ],
)
def test_counts(mode: Mode, count: int, values: list[int]) -> None:
    counter = running(mode, count)
    assert [counter.value(clock) for clock in range(len(values))] == values


def test_zero_is_the_largest_count() -> None:
    assert running(Mode.TERMINAL_COUNT, 0).next_rise(0) == 0x10000
    assert running(Mode.TERMINAL_COUNT, 0, bcd=True).next_rise(0) == BCD_COUNTS


def test_bcd_counts_in_decimal() -> None:
    counter = running(Mode.TERMINAL_COUNT, 0x0100, bcd=True)
    assert [counter.value(clock) for clock in (0, 1, 100, 101)] == [0x0100, 0x0099, 0, 0x9999]


@pytest.mark.parametrize("mode", [Mode.ONE_SHOT, Mode.HARDWARE_STROBE])
def test_a_rising_gate_triggers_and_retriggers(mode: Mode) -> None:
    counter = running(mode, 5, gate=False)
    assert counter.next_rise(10) is None
    counter.set_gate(True, 10)
    counter.set_gate(False, 11)
    counter.set_gate(True, 12)
    wave = "".join("_^"[counter.out(clock)] for clock in range(12, 20))
    assert wave == ("______^^" if mode is Mode.ONE_SHOT else "^^^^^^_^"), "the trigger is seen by the next clock"


def test_a_count_written_during_a_shot_waits_for_the_next_trigger() -> None:
    counter = running(Mode.ONE_SHOT, 5, gate=False)
    counter.set_gate(True, 0)
    counter.write(9, 1)
    counter.write(0, 1)
    assert counter.next_rise(1) == 6
    counter.set_gate(False, 7)
    counter.set_gate(True, 8)
    assert counter.next_rise(8) == 18


@pytest.mark.parametrize("mode", [Mode.TERMINAL_COUNT, Mode.SOFTWARE_STROBE])
def test_a_low_gate_holds_the_count(mode: Mode) -> None:
    counter = running(mode, 10)
    counter.set_gate(False, 4)
    assert (counter.value(50), counter.next_rise(50)) == (6, None)
    counter.set_gate(True, 60)
    assert counter.value(61) == 5


@pytest.mark.parametrize("mode", [Mode.RATE, Mode.SQUARE_WAVE])
def test_a_low_gate_forces_periodic_outputs_high_and_a_rise_restarts_them(mode: Mode) -> None:
    counter = running(mode, 4)
    counter.set_gate(False, 3)
    assert counter.out(3)
    counter.set_gate(True, 100)
    assert (counter.next_rise(100), counter.value(101)) == (105, 4)


def test_a_new_count_of_a_periodic_mode_begins_with_the_next_period() -> None:
    counter = running(Mode.RATE, 10)
    counter.write(4, 25)
    counter.write(0, 25)
    assert [counter.next_rise(clock) for clock in (25, 30, 34)] == [30, 34, 38]


def test_the_first_of_two_bytes_stops_mode_0() -> None:
    counter = running(Mode.TERMINAL_COUNT, 10)
    counter.write(5, 3)
    assert (counter.out(20), counter.next_rise(20)) == (False, None)
    counter.write(0, 20)
    assert counter.next_rise(20) == 26, "loaded by clock 21"


@pytest.mark.parametrize(("access", "count"), [(Access.LOW, 0x34), (Access.HIGH, 0x3400)])
def test_single_byte_access(access: Access, count: int) -> None:
    counter = Counter(gate=True)
    counter.program(Mode.RATE, access, bcd=False)
    counter.write(0x34, 0)
    assert counter.next_rise(0) == 1 + count
    assert counter.read(1) == 0x34


def test_nothing_counts_before_a_control_word() -> None:
    counter = Counter(gate=True)
    counter.write(5, 0)
    assert (counter.read(3), counter.next_rise(3), counter.out(3)) == (0, None, True)


def test_status_shows_output_null_count_access_mode_and_base() -> None:
    counter = Counter(gate=True)
    counter.program(Mode.RATE, Access.LOW_THEN_HIGH, bcd=True, control=0b11_1101)
    counter.latch_status(0)
    assert counter.read(0) == 0b1111_1101, "the mode as it was written, bit 3 included"
    counter.write(3, 0)
    counter.write(0, 0)
    counter.latch_status(0)
    assert counter.read(0) == 0b1111_1101, "the count is loaded by the next clock"
    counter.latch_status(3)
    assert counter.read(3) == 0b0011_1101
    counter.write(9, 3)
    counter.write(0, 3)
    counter.latch_status(3)
    assert counter.read(3) == 0b0111_1101, "the new count is not yet counting"
    counter.latch_status(4)
    assert counter.read(4) == 0b1011_1101


@given(
    st.sampled_from([Mode.TERMINAL_COUNT, Mode.RATE, Mode.SQUARE_WAVE, Mode.SOFTWARE_STROBE]),
    st.integers(2, 40),
    st.integers(0, 100),
)
def test_next_rise_is_where_the_output_next_goes_from_low_to_high(mode: Mode, count: int, clock: int) -> None:
    counter = running(mode, count)
    rises = [at for at in range(clock + 1, clock + 200) if counter.out(at) and not counter.out(at - 1)]
    assert counter.next_rise(clock) == (rises[0] if rises else None)


class Stepped:
    """One counter, a clock pulse at a time: the data sheet's "Mode definitions" and figures 15 to 20."""

    def __init__(self, mode: Mode, *, gate: bool, bcd: bool) -> None:
        self.mode, self.gate, self.bcd = mode, gate, bcd
        self.register = self.element = self.loaded = 0
        self.load = self.armed = self.started = False
        self.null = True
        self.out = mode is not Mode.TERMINAL_COUNT

    def write(self, count: int) -> None:
        self.register, self.null = count, True
        if self.mode is Mode.TERMINAL_COUNT:
            self.out = False
        triggered = self.mode in (Mode.ONE_SHOT, Mode.HARDWARE_STROBE)
        periodic = self.mode in (Mode.RATE, Mode.SQUARE_WAVE)
        if not triggered and not (periodic and self.started):
            self.load = True

    def set_gate(self, level: bool) -> None:
        rising = level and not self.gate
        self.gate = level
        if self.mode in (Mode.RATE, Mode.SQUARE_WAVE) and not level:
            self.out = True
        if rising and self.register and self.mode not in (Mode.TERMINAL_COUNT, Mode.SOFTWARE_STROBE):
            self.load = True

    def transfer(self) -> None:
        self.loaded, self.started, self.null = self.register, True, False
        self.element = self.loaded - (self.mode is Mode.SQUARE_WAVE and self.loaded % 2)

    def tick(self) -> None:
        if self.load:
            self.load, self.armed = False, True
            self.transfer()
            self.out = self.mode not in (Mode.TERMINAL_COUNT, Mode.ONE_SHOT)
        elif self.started and (self.gate or self.mode in (Mode.ONE_SHOT, Mode.HARDWARE_STROBE)):
            {Mode.RATE: self.tick_rate, Mode.SQUARE_WAVE: self.tick_square}.get(self.mode, self.tick_once)()

    def tick_once(self) -> None:
        self.element = (self.element - 1) % (BCD_COUNTS if self.bcd else 0x10000)
        if self.mode in (Mode.TERMINAL_COUNT, Mode.ONE_SHOT):
            self.out = self.out or self.element == 0
        else:
            self.out = not (self.element == 0 and self.armed)
            self.armed = self.armed and self.out

    def tick_rate(self) -> None:
        if self.element == 1:
            self.transfer()
        else:
            self.element -= 1
        self.out = self.element != 1

    def tick_square(self) -> None:
        if self.loaded % 2 and self.out and self.element:
            self.element -= 2
            return
        if not (self.loaded % 2 and self.out):
            self.element -= 2
        if self.element <= 0:
            self.out = not self.out
            self.transfer()

    def value(self) -> int:
        return to_bcd(self.element % BCD_COUNTS) if self.bcd else self.element % 0x10000


ACTS = st.one_of(
    st.tuples(st.just("write"), st.integers(2, 12)), st.tuples(st.just("gate"), st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 15)),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@example(  # a one-shot triggered anew in the clock before its end does not end
    mode=Mode.ONE_SHOT, gate=False, bcd=False,
    acts=[("write", 2), ("gate", True), ("wait", 2), ("gate", False), ("gate", True)],
)  # fmt: skip
@given(mode=st.sampled_from(Mode), gate=st.booleans(), bcd=st.booleans(), acts=st.lists(ACTS, max_size=25))
def test_every_mode_is_that_of_a_stepped_counter(
    mode: Mode, gate: bool, bcd: bool, acts: list[tuple[str, int]]
) -> None:
    counter, model, clock = Counter(gate=gate), Stepped(mode, gate=gate, bcd=bcd), 0
    counter.program(mode, Access.LOW, bcd=bcd)
    expected: int | None = None
    for act, operand in [*acts, ("wait", 30)]:
        if act == "write":
            counter.write(to_bcd(operand) if bcd else operand, clock)
            model.write(operand)
        elif act == "gate":
            counter.set_gate(bool(operand), clock)
            model.set_gate(bool(operand))
        expected = counter.next_rise(clock)
        for _ in range(operand if act == "wait" else 0):
            before = model.out
            clock += 1
            model.tick()
            if model.started:
                assert counter.value(clock) == model.value()
            assert counter.out(clock) == model.out
            if model.out and not before:
                assert expected == clock
                expected = counter.next_rise(clock)
            else:
                assert expected is None or expected > clock
        counter.latch_status(clock)
        assert bool(counter.read(clock) & 0x40) == model.null
        assert counter.out(clock) == model.out


@given(st.integers(0, 9999))
def test_bcd_round_trip(number: int) -> None:
    assert from_bcd(to_bcd(number)) == number
    assert f"{to_bcd(number):04x}" == f"{number:04}"


@given(st.integers(0, 0xFFFF))
def test_digits_that_are_none_still_give_a_count(value: int) -> None:
    assert 0 <= from_bcd(value) < BCD_COUNTS

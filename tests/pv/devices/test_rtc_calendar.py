"""Moments to register bytes and back."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.devices.rtc_calendar import Calendar, Time, fields_of, seconds_of

SECONDS = st.integers(-(10**11), 10**11)
FORMATS = [Calendar(binary=binary, hours_24=hours_24) for binary in (False, True) for hours_24 in (False, True)]


@given(st.datetimes(min_value=datetime.datetime(1, 1, 1)))
def test_fields_agree_with_datetime(moment: datetime.datetime) -> None:
    seconds = (moment.replace(microsecond=0) - datetime.datetime(1970, 1, 1)) // datetime.timedelta(seconds=1)
    time = fields_of(seconds)
    assert (time.century * 100 + time.year, time.month, time.day) == (moment.year, moment.month, moment.day)
    assert (time.hour, time.minute, time.second) == (moment.hour, moment.minute, moment.second)
    assert time.weekday == moment.isoweekday() % 7 + 1
    assert seconds_of(time) == seconds


@given(SECONDS)
@pytest.mark.parametrize("calendar", FORMATS)
def test_every_moment_has_bytes_that_decode_to_it(calendar: Calendar, seconds: int) -> None:
    time = fields_of(seconds)
    coded = calendar.encode(time)
    assert all(0 <= byte <= 255 for byte in coded)
    decoded = calendar.decode(coded)
    assert decoded is not None
    assert decoded._replace(weekday=time.weekday) == time


@pytest.mark.parametrize(
    ("hour", "bcd", "binary"), [(0, 0x12, 12), (1, 0x01, 1), (11, 0x11, 11), (12, 0x92, 0x8C), (23, 0x91, 0x8B)]
)
def test_twelve_hour_mode(hour: int, bcd: int, binary: int) -> None:
    time = Time(0, 0, hour, 1, 1, 1, 0, 20)
    assert Calendar(binary=False, hours_24=False).encode(time).hour == bcd
    assert Calendar(binary=True, hours_24=False).encode(time).hour == binary


@pytest.mark.parametrize("change", [{"month": 13}, {"month": 0}, {"day": 31, "month": 2}, {"hour": 24}, {"second": 60}])
def test_moments_that_do_not_exist(change: dict[str, int]) -> None:
    assert seconds_of(fields_of(0)._replace(**change)) is None


@given(st.tuples(*[st.integers(0, 255)] * 8))
@pytest.mark.parametrize("calendar", FORMATS)
def test_any_bytes_decode_to_a_moment_or_to_none(calendar: Calendar, coded: tuple[int, ...]) -> None:
    time = calendar.decode(Time(*coded))
    seconds = None if time is None else seconds_of(time)
    assert (
        time is None
        or seconds is None
        or fields_of(seconds)._replace(weekday=0, century=0)
        == time._replace(weekday=0, century=0, year=time.year % 100)
    )


@given(st.integers(0, 10**10), st.tuples(*[st.integers(0, 255)] * 3))
@pytest.mark.parametrize("calendar", FORMATS)
def test_an_alarm_comes_within_a_day_at_a_matching_second(
    calendar: Calendar, after: int, alarm: tuple[int, int, int]
) -> None:
    found = calendar.next_alarm_s(after, *alarm)
    if found is None:
        return
    assert after < found <= after + 86_400
    coded = calendar.encode(fields_of(found))
    for byte, wanted in zip((coded.hour, coded.minute, coded.second), alarm, strict=True):
        assert wanted >= 0xC0 or byte == wanted


def test_an_alarm_of_only_seconds_comes_every_minute() -> None:
    calendar = Calendar(binary=False, hours_24=True)
    assert [calendar.next_alarm_s(after, 0xFF, 0xFF, 0x30) for after in (0, 29, 30, 86_399)] == [30, 30, 90, 86_430]


def test_an_alarm_that_no_time_matches_never_comes() -> None:
    calendar = Calendar(binary=False, hours_24=True)
    assert calendar.next_alarm_s(0, 0x24, 0, 0) is None
    assert calendar.next_alarm_s(0, 0x0A, 0, 0) is None

"""Which bytes does a moment have in the clock's registers, and when does its alarm ring?

MC146818A data sheet, table 2 (BCD and binary, 12 and 24 hours) and "Alarm". Moments are seconds since
1970-01-01T00:00:00Z; the calendar is Gregorian for ever, so no moment is out of range.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

DAY_S: Final = 86_400
CYCLE_YEARS: Final = 400  # after so many years the calendar repeats, weekdays included
CYCLE_DAYS: Final = 146_097
FIRST: Final = datetime.date(1970, 1, 1)
PM: Final = 1 << 7  # in the hours register, in 12-hour mode
DO_NOT_CARE: Final = 0xC0  # an alarm byte from here on matches everything


class Time(NamedTuple):
    """The time registers, as numbers or as bytes. weekday: 1 is Sunday. year: of the century."""

    second: int
    minute: int
    hour: int
    weekday: int
    day: int
    month: int
    year: int
    century: int


def fields_of(seconds: int) -> Time:
    """A moment, in seconds since 1970 UTC, as numbers."""
    days, in_day = divmod(seconds, DAY_S)
    cycles, day_of_cycle = divmod(days, CYCLE_DAYS)
    date = FIRST + datetime.timedelta(days=day_of_cycle)
    century, year = divmod(date.year + cycles * CYCLE_YEARS, 100)
    weekday = date.isoweekday() % 7 + 1
    return Time(in_day % 60, in_day // 60 % 60, in_day // 3600, weekday, date.day, date.month, year, century % 100)


def seconds_of(time: Time) -> int | None:
    """The inverse of fields_of, whatever the weekday; None where there is no such moment."""
    cycles, year = divmod(time.century * 100 + time.year - FIRST.year, CYCLE_YEARS)
    try:
        date = datetime.date(FIRST.year + year, time.month, time.day)
        clock = datetime.time(time.hour, time.minute, time.second)
    except ValueError:
        return None
    days = (date - FIRST).days + cycles * CYCLE_DAYS
    return days * DAY_S + clock.hour * 3600 + clock.minute * 60 + clock.second


@dataclass(frozen=True, slots=True)
class Calendar:
    """How register B has the registers written."""

    binary: bool
    hours_24: bool

    def encode(self, time: Time) -> Time:
        """Numbers to bytes."""
        coded = Time._make(map(self._encode_byte, time))
        if self.hours_24:
            return coded
        hour = self._encode_byte((time.hour - 1) % 12 + 1)
        return coded._replace(hour=hour | (PM if time.hour >= 12 else 0))

    def decode(self, coded: Time) -> Time | None:
        """Bytes to numbers, but for the weekday; None where a byte is no BCD or no hour of 12."""
        numbers = [self._decode_byte(byte) for byte in coded._replace(weekday=0, hour=0)]
        hour = self._decode_hour(coded.hour)
        known = [number for number in numbers if number is not None]
        if hour is None or len(known) != len(numbers):
            return None
        return Time._make(known)._replace(hour=hour)

    def next_alarm_s(self, after_s: int, hour: int, minute: int, second: int) -> int | None:
        """The first second after `after_s` that matches the three alarm bytes; None where none ever will."""
        hours = range(24) if hour >= DO_NOT_CARE else self._only(self._decode_hour(hour), 24)
        minutes = range(60) if minute >= DO_NOT_CARE else self._only(self._decode_byte(minute), 60)
        seconds = range(60) if second >= DO_NOT_CARE else self._only(self._decode_byte(second), 60)
        if not (hours and minutes and seconds):
            return None
        day, in_day = divmod(after_s + 1, DAY_S)
        in_day_match = first_match(in_day, hours, minutes, seconds)
        if in_day_match is None:
            day += 1
            in_day_match = hours[0] * 3600 + minutes[0] * 60 + seconds[0]
        return day * DAY_S + in_day_match

    def _only(self, value: int | None, limit: int) -> range:
        return range(value, value + 1) if value is not None and value < limit else range(0)

    def _encode_byte(self, value: int) -> int:
        return value if self.binary else value // 10 << 4 | value % 10

    def _decode_byte(self, byte: int) -> int | None:
        if self.binary:
            return byte
        tens, ones = divmod(byte, 16)
        return tens * 10 + ones if tens < 10 and ones < 10 else None

    def _decode_hour(self, byte: int) -> int | None:
        if self.hours_24:
            return self._decode_byte(byte)
        hour = self._decode_byte(byte & ~PM)
        if hour is None or not 1 <= hour <= 12:
            return None
        return hour % 12 + (12 if byte & PM else 0)


def first_match(from_s: int, hours: Sequence[int], minutes: Sequence[int], seconds: Sequence[int]) -> int | None:
    """The first second of a day, not before `from_s`, of which hour, minute and second are allowed."""
    for hour in hours:
        for minute in minutes:
            start = hour * 3600 + minute * 60
            if start + 59 < from_s:
                continue
            for second in seconds:
                if start + second >= from_s:
                    return start + second
    return None

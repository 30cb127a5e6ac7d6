"""Which moment does a text name, in the time zone of a company?"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

SHAPE = re.compile(
    r"\d{4}-\d{2}-\d{2}[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?"
    r"(?:Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?",
    re.ASCII | re.IGNORECASE,
)
EXAMPLES = "2026-11-30T09:00:00Z, or 2026-11-30 09:00:00 in the company's time zone"


class InvalidTime(ValueError):
    """The text names no moment, or two; the message is for the person who wrote it."""


def read_moment(text: str, zone: ZoneInfo) -> datetime:
    """The moment in UTC: ISO 8601, or `Y-m-d H:i:s`; without an offset the text is in `zone`.

    Raises `InvalidTime` for anything else, and for local times that do not exist (the clock is put forward over
    them) or that exist twice (it is put back) and come without an offset.
    """
    found = SHAPE.fullmatch(text)
    if found is None:
        raise InvalidTime(f"Write a time as {EXAMPLES}.")
    try:
        written = datetime.fromisoformat(text.upper())
        return written.astimezone(UTC) if written.tzinfo else local_moment(written, zone)
    except (ValueError, OverflowError) as error:
        if isinstance(error, InvalidTime):
            raise
        raise InvalidTime(f"There is no such time; write it as {EXAMPLES}.") from None


def local_moment(written: datetime, zone: ZoneInfo) -> datetime:
    """The one moment at which clocks in the zone show this time (PEP 495: its two readings agree)."""
    first = written.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = written.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first == second:
        return first
    shown = f"{written:%Y-%m-%d %H:%M:%S}"
    if first.astimezone(zone).replace(tzinfo=None) != written:
        raise InvalidTime(f"Clocks in {zone.key} are put forward over {shown}; there is no such time.")
    offsets = " or ".join(written_offset(moment.astimezone(zone).utcoffset()) for moment in (first, second))
    raise InvalidTime(f"Clocks in {zone.key} show {shown} twice; add the offset, {offsets}.")


def written_offset(offset: timedelta | None) -> str:
    minutes = int((offset or timedelta()).total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"

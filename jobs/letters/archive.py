"""How does a ZIP archive grow in parts that are written at different times, by different processes?

An entry is stored as it is, behind a header that already says its size and CRC-32: entries can follow each other
however they come to be there. The directory at the end says where each is, and is made of what the headers say.
(APPNOTE.TXT 6.3.10 of PKWARE: 4.3.7 local headers, 4.3.12 the directory, 4.3.14 to 4.3.16 its end.) More than 65,535
entries, or 4 GiB of them, take the ZIP64 form of the directory; an entry itself is always smaller than that.
"""

from __future__ import annotations

import re
import struct
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO, Final

LOCAL: Final = struct.Struct("<4s5H3I2H")
CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
END: Final = struct.Struct("<4s4H2IH")
END_64: Final = struct.Struct("<4sQ2H2I4Q")
LOCATOR_64: Final = struct.Struct("<4sIQI")
LOCAL_MARK: Final = b"PK\x03\x04"
CENTRAL_MARK: Final = b"PK\x01\x02"
END_MARK: Final = b"PK\x05\x06"
END_64_MARK: Final = b"PK\x06\x06"
LOCATOR_64_MARK: Final = b"PK\x06\x07"
# What a program must know to read it: version 2.0 of the format, 4.5 for ZIP64; of "Unix", which the modes are of.
VERSION: Final = 20
VERSION_64: Final = 45
MADE_ON_UNIX: Final = 3 << 8
MODE: Final = 0o100644 << 16
MOST_16: Final = 0xFFFF
MOST_32: Final = 0xFFFFFFFF
# DOS knows the years from 1980 on, and half of the seconds.
FIRST_YEAR: Final = 1980
LONGEST_SLUG: Final = 60


class DamagedArchive(Exception):
    """What should be entries is something else."""


def entry(name: str, content: bytes, time: datetime) -> bytes:
    """An entry of the archive; the name must be ASCII. ValueError: 4 GiB or more."""
    if len(content) >= MOST_32:
        raise ValueError("too large for an entry")
    date, clock = dos_time(time)
    size = len(content)
    plain = name.encode("ascii")
    header = LOCAL.pack(
        LOCAL_MARK, VERSION, 0, 0, clock, date, zlib.crc32(content), size, size, len(plain), 0
    )  # fmt: skip
    return header + plain + content


def entry_name(number: int, person: str) -> str:
    """A name that sorts as the numbers do, is like no other, and means nothing to a shell or a file system."""
    plain = unicodedata.normalize("NFKD", person.translate(SPELLED)).encode("ascii", "ignore").decode().lower()
    slug = re.sub("[^a-z0-9]+", "-", plain)[:LONGEST_SLUG].strip("-")
    return f"{number:06}-{slug or 'letter'}.pdf"


def directory(parts: Iterable[tuple[BinaryIO, int]]) -> Iterator[bytes]:
    """What ends the archive whose entries are in these files, one after the other: so many bytes of each.

    Raises `DamagedArchive`.
    """
    entries, size, offset = 0, 0, 0
    for file, length in parts:
        for header in headers(file, length, offset):
            entries += 1
            size += len(header)
            yield header
        offset += length
    yield ending(entries, size, offset)


def headers(file: BinaryIO, length: int, offset: int) -> Iterator[bytes]:
    """The directory's header of each entry in the file, which begins so far into the archive."""
    place = 0
    while place < length:
        file.seek(place)
        raw = file.read(LOCAL.size)
        if len(raw) < LOCAL.size or not raw.startswith(LOCAL_MARK):
            raise DamagedArchive(f"no entry at {place}")
        _, version, flags, method, clock, date, crc, size, _, name_length, extra_length = LOCAL.unpack(raw)
        name = file.read(name_length)
        yield central(version, (flags, method, clock, date, crc, size, size), name, offset + place)
        place += LOCAL.size + name_length + extra_length + size
    if place != length:
        raise DamagedArchive("the last entry is cut off")


def central(version: int, told: tuple[int, ...], name: bytes, offset: int) -> bytes:
    """The directory's header of an entry; `told`: what it has in common with the one in front of the entry."""
    extra = b""
    if offset >= MOST_32:
        extra = struct.pack("<2HQ", 1, 8, offset)
        version, offset = VERSION_64, MOST_32
    lengths = len(name), len(extra), 0
    return (
        CENTRAL.pack(CENTRAL_MARK, MADE_ON_UNIX | version, version, *told, *lengths, 0, 0, MODE, offset) + name + extra
    )


def ending(entries: int, size: int, offset: int) -> bytes:
    """The end of a directory of so many entries and bytes, which begins at an offset."""
    large = b""
    if entries >= MOST_16 or size >= MOST_32 or offset >= MOST_32:
        large = END_64.pack(
            *(END_64_MARK, END_64.size - 12, MADE_ON_UNIX | VERSION_64, VERSION_64, 0, 0),
            *(entries, entries, size, offset),
        ) + LOCATOR_64.pack(LOCATOR_64_MARK, 0, offset + size, 1)
    count = min(entries, MOST_16)
    return large + END.pack(END_MARK, 0, 0, count, count, min(size, MOST_32), min(offset, MOST_32), 0)


def dos_time(time: datetime) -> tuple[int, int]:
    """Date and time of day, in UTC."""
    utc = time.astimezone(UTC)
    date = (max(utc.year - FIRST_YEAR, 0) << 9) | (utc.month << 5) | utc.day
    return date, (utc.hour << 11) | (utc.minute << 5) | (utc.second // 2)


# Letters that no accent makes of others.
SPELLED: Final = str.maketrans(
    {
        "æ": "ae",
        "Æ": "Ae",
        "ø": "oe",
        "Ø": "Oe",
        "å": "aa",
        "Å": "Aa",
        "ß": "ss",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
    }
)

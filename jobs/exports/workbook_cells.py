"""How is a row of JSON values written as the cells of a workbook (ECMA-376 part 1, 18.3.1.4)?

Nothing is guessed: text is text, whatever it begins with; only JSON's numbers are numbers, only JSON's booleans are
booleans, and only the columns of dates and times hold dates. What a workbook cannot hold is changed a little:

* characters that XML 1.0 forbids, and lone surrogates, are left out;
* text longer than a cell takes is cut, and ends with `CUT_MARK`;
* numbers with more than 15 digits before the point, or too great for a cell, become text with all their digits;
* dates and times before 1900, which have no number in a workbook, stay the text that they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NoReturn

import orjson

MOST_COLUMNS: Final = 16_384
MOST_UNITS: Final = 32_767
"""The longest text of a cell, in UTF-16 units, as the specification of Excel counts them."""
CUT_MARK: Final = "… [cut]"

DATE_STYLE, TIME_STYLE, HEADER_STYLE, QUOTED_STYLE, QUOTED_HEADER_STYLE = range(1, 6)
"""Places in the table of styles. A quoted cell stays text also when somebody edits it."""

_SURELY_FITS: Final = MOST_UNITS // 2
_FORMULA: Final = frozenset("=+-@\t\r")
_FORMULA_OR_SPACE: Final = _FORMULA | {" "}
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# `_x000D_` stands for a carriage return in the format's text (ST_Xstring, 22.9.2.19).
_ESCAPE: Final = re.compile("_(?=x[0-9A-Fa-f]{4}_)")

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DAY_ZERO: Final = date(1899, 12, 30)
_TIME_ZERO: Final = datetime(1899, 12, 30, tzinfo=UTC)
_DAY: Final = 24 * 60 * 60 * 1000

_BEYOND: Final = 10**15
_GREATEST: Final = 9.99999999999999e307


class _Inexact(Exception):
    """A number whose digits may have been lost when the row was read."""


class _Known(float):
    """A number that was read with all its digits in view."""

    __slots__ = ()


class Rows:
    """Writes lines of JSON arrays as rows; `kinds` are the names of the columns' kinds (`DATE`, `TIME`, others)."""

    def __init__(self, kinds: Sequence[str]) -> None:
        if len(kinds) > MOST_COLUMNS:
            raise ValueError(f"a sheet has at most {MOST_COLUMNS} columns")
        self._starts = [f'<c r="{letters(place)}' for place in range(len(kinds))]
        self._dated = [_DATED.get(kind) for kind in kinds]

    def header(self, headers: Sequence[str]) -> str:
        """The first row of a sheet."""
        cells = [
            f'{start}1"{text_cell(header, HEADER_STYLE, QUOTED_HEADER_STYLE)}'
            for start, header in zip(self._starts, headers, strict=True)
        ]
        return f'<row r="1">{"".join(cells)}</row>'

    def row(self, number: int, line: bytes) -> str:
        """The row of that number, counted from 1. ValueError: the line is not JSON, or not of one value a column."""
        try:
            return self._row(number, orjson.loads(line))
        except (orjson.JSONDecodeError, _Inexact):
            # The slower reader keeps every digit, and reads lone surrogates.
            return self._row(number, json.loads(line, parse_int=_whole, parse_float=_broken, parse_constant=_refused))

    def _row(self, number: int, values: Iterable[object]) -> str:
        end = f'{number}"'
        cells = [
            f"{start}{end}{dated(value) if dated else _CELLS[type(value)](value)}"
            for start, dated, value in zip(self._starts, self._dated, values, strict=True)
            if value is not None
        ]
        return f'<row r="{number}">{"".join(cells)}</row>'


def letters(place: int) -> str:
    """The name of the column at a place counted from 0: A to Z, then AA and so on."""
    name = ""
    while place >= 0:
        place, letter = divmod(place, 26)
        name = chr(ord("A") + letter) + name
        place -= 1
    return name


def text_cell(text: str, style: int = 0, quoted_style: int = QUOTED_STYLE) -> str:
    """A cell of text, without its beginning, which says where it is."""
    if len(text) > _SURELY_FITS or not text.isprintable():
        text = _cut(_FORBIDDEN.sub("", text))
    if text[:1] in _FORMULA:
        style = quoted_style
    return f' s="{style}" t="inlineStr"><is>{_runs(text)}</is></c>'


def _text_cell(text: str) -> str:
    """The same for the cells below the header, quickly for texts that need no care, as most do."""
    if len(text) <= _SURELY_FITS and (
        text.isalnum()
        or (
            text.isprintable()
            and text[:1] not in _FORMULA_OR_SPACE
            and text[-1:] != " "
            and "&" not in text
            and "<" not in text
            and ">" not in text
            and "_x" not in text
        )
    ):
        return f' t="inlineStr"><is><t>{text}</t></is></c>'
    return text_cell(text)


def _cut(text: str) -> str:
    """The text, no longer than a cell takes it; no character is halved."""
    units = text.encode("utf-16-le")
    if len(units) <= 2 * MOST_UNITS:
        return text
    return units[: 2 * (MOST_UNITS - len(CUT_MARK))].decode("utf-16-le", errors="ignore") + CUT_MARK


def _runs(text: str) -> str:
    """Text with what looks like an escape is split there into two runs, so that every reader shows it as it is."""
    if "_x" not in text:
        return _run(text)
    *begun, last = _ESCAPE.split(text)
    return "".join(f"<r>{_run(part)}</r>" for part in [*(f"{part}_" for part in begun), last]) if begun else _run(text)


def _run(text: str) -> str:
    if "&" in text:
        text = text.replace("&", "&amp;")
    if "<" in text:
        text = text.replace("<", "&lt;")
    if ">" in text:
        text = text.replace(">", "&gt;")
    if "\r" in text:
        text = text.replace("\r", "&#13;")
    if text[:1].isspace() or text[-1:].isspace():
        return f'<t xml:space="preserve">{text}</t>'
    return f"<t>{text}</t>"


def _known_cell(value: _Known) -> str:
    return f"><v>{value!r}</v></c>"


def _integer_cell(value: int) -> str:
    return f"><v>{value}</v></c>" if -_BEYOND < value < _BEYOND else _text_cell(str(value))


def _float_cell(value: float) -> str:
    if -_BEYOND < value < _BEYOND:
        return f"><v>{value!r}</v></c>"
    raise _Inexact


def _boolean_cell(value: bool) -> str:
    return f' t="b"><v>{value:d}</v></c>'


def _nested_cell(value: object) -> str:
    return _text_cell(json.dumps(value, ensure_ascii=False))


def _whole(digits: str) -> int | str:
    """A JSON integer; as text where a cell would lose digits of it."""
    return int(digits) if len(digits.lstrip("-")) <= 15 else digits


def _broken(digits: str) -> _Known | str:
    """Another JSON number, likewise. What is written with an exponent is taken as approximate."""
    value = _Known(digits)
    approximate = "e" in digits or "E" in digits
    fits = abs(value) <= _GREATEST if approximate else len(digits.partition(".")[0].lstrip("-")) <= 15
    return value if fits else digits


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _date_cell(value: object) -> str:
    return _date_text_cell(value) if isinstance(value, str) else _CELLS[type(value)](value)


@lru_cache(maxsize=50_000)
def _date_text_cell(text: str) -> str:
    """An export has few different dates, and most of them many times."""
    try:
        day = _serial((date.fromisoformat(text) - _DAY_ZERO).days) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    return f' s="{DATE_STYLE}"><v>{day}</v></c>' if day else _text_cell(text)


def _time_cell(value: object) -> str:
    """To the millisecond, which is what a workbook keeps; its number is exact in ten places, whatever floats are."""
    if not isinstance(value, str):
        return _CELLS[type(value)](value)
    since = _since_zero(value)
    day = _serial(since.days) if since else None
    if not since or not day:
        return _text_cell(value)
    milliseconds = since.seconds * 1000 + since.microseconds // 1000
    return f' s="{TIME_STYLE}"><v>{day}.{milliseconds * 10**10 // _DAY:010}</v></c>'


def _since_zero(text: str) -> timedelta | None:
    """What has gone by at that time; None: it is no time."""
    if text[4:11:3] != "--T":
        # Python also reads forms of ISO 8601 that people write for other things.
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)) - _TIME_ZERO


def _serial(days: int) -> int | None:
    """The number of a day: 1 is the first of January 1900, and 60 a 29th of February that there never was."""
    if days < 2:
        return None
    return days if days > 60 else days - 1


_DATED: Final[dict[str, Callable[[object], str]]] = {"DATE": _date_cell, "TIME": _time_cell}
_CELLS: Final[dict[type, Callable[[Any], str]]] = {
    str: _text_cell,
    int: _integer_cell,
    float: _float_cell,
    _Known: _known_cell,
    bool: _boolean_cell,
    list: _nested_cell,
    dict: _nested_cell,
}

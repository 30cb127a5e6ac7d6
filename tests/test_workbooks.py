"""Is a workbook what its rows are: text as it is, real numbers and dates, and not one formula?"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as ET
from zipfile import ZipFile

import openpyxl  # type: ignore[import-untyped]  # it has no types
import pytest
from openpyxl.worksheet.worksheet import Worksheet  # type: ignore[import-untyped]  # the same

from jobs.exports.workbook_cells import CUT_MARK, letters
from jobs.exports.workbook_file import Layout, write_workbook_file
from jobs.exports.workbook_process import lines_of

Cell = str | int | float | bool | datetime | None
HOSTILE = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1,1)",
    "\t=1+1",
    "\r=1+1",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://example.com","x")',
    "{=1+1}",
    "http://example.com",
    "mailto:ann@example.com",
    "0012",
    "+4520000001",
    "1e5",
    "TRUE",
    "2026-11-21",
    "  spaces  ",
    " ",
    "",
    "one\ntwo\r\nthree\rfour\tfive",
    "\n",
    "<b>&amp;</b> ]]> \"'",
    "_x0041_ _x000D_ _x000d_x000D_ __x0041__ _x00",
    "_x0041_",
    "&#65; &lt;",
    "👩‍👩‍👧‍👦 😀 \U0010ffff",
    "שלום עולם \u202eabc\u202c مرحبا",
    "\u00a0nbsp\u00a0 \u2028 \u0085 \x7f \ufeff",
    "'quoted",
    "#N/A",
]


def workbook(lines: Iterable[bytes], layout: Layout) -> bytes:
    """The file that the lines make."""
    out = io.BytesIO()
    write_workbook_file(out, layout, lines, lambda rows: None)
    return out.getvalue()


def written(rows: Sequence[Sequence[object]], kinds: Sequence[str] = ("TEXT",)) -> bytes:
    return workbook([json.dumps(row).encode() for row in rows], Layout([kind.lower() for kind in kinds], kinds))


def sheets_of(content: bytes) -> list[Worksheet]:
    book = openpyxl.load_workbook(io.BytesIO(content))
    return [book[name] for name in book.sheetnames]


def values_of(sheet: Worksheet) -> list[list[Cell]]:
    """What openpyxl reads, the header first; not one cell may be a formula, a link or an error."""
    assert all(cell.data_type in "snbd" and cell.hyperlink is None for row in sheet.iter_rows() for cell in row)
    return [list(row) for row in sheet.iter_rows(values_only=True)]


def rows_of(content: bytes) -> list[list[Cell]]:
    (sheet,) = sheets_of(content)
    return values_of(sheet)[1:]


def test_text_is_read_again_as_it_was() -> None:
    """Whatever a cell's text begins with or looks like, it comes back as it was; only `null` is an empty cell."""
    assert rows_of(written([[text] for text in HOSTILE])) == [[text] for text in HOSTILE]
    assert rows_of(written([["", None]], ["TEXT", "TEXT"])) == [["", None]]


def test_text_is_the_same_to_readers_that_go_by_the_standard() -> None:
    """Readers that decode `_x0041_` in a text and drop unmarked white space, as Excel does, see the same text."""
    texts = ["_x0041_", "a _x000D_ _x000d_x000D_ __x004a__ _x00", "_x004A_x004A_", " a", "a ", "\na\t", "a\r\n", " "]
    with ZipFile(io.BytesIO(written([[text] for text in texts]))) as archive:
        root = ET.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    assert [shown(cell) for cell in root.iter(f"{MAIN}is")][1:] == texts


MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
SPACE = "{http://www.w3.org/XML/1998/namespace}space"


def shown(cell: ET.Element) -> str:
    """The text of an inline string, read by ECMA-376 part 1, 18.4.12 and 22.9.2.19."""
    kept = [text.text or "" if SPACE in text.attrib else (text.text or "").strip() for text in cell.iter(f"{MAIN}t")]
    return "".join(re.sub("_x([0-9A-Fa-f]{4})_", lambda found: chr(int(found[1], 16)), text) for text in kept)


def test_text_stays_text_when_it_is_edited() -> None:
    """A cell whose text could become a formula when somebody edits it has the mark that keeps it text."""
    (sheet,) = sheets_of(written([[text] for text in HOSTILE]))
    marked = {cell.value for (cell,) in sheet.iter_rows(min_row=2) if cell.quotePrefix}
    assert marked == {text for text in HOSTILE if text[:1] in set("=+-@\t\r")}


def test_what_xml_cannot_hold_is_left_out() -> None:
    """Control characters, lone surrogates and non-characters are stripped, and nothing else."""
    forbidden = "".join(map(chr, [*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0xDFFF, 0xD800, 0xFFFE, 0xFFFF]))
    text = "".join(f"a{character}" for character in forbidden)
    assert rows_of(written([[text], [f"{forbidden}=1"], [forbidden]])) == [["a" * len(forbidden)], ["=1"], [""]]


@pytest.mark.parametrize("character", ["x", "é", "<", "\n", "😀", "\x00x"])
def test_long_text_is_cut(character: str) -> None:
    """Text that is longer than a cell takes, in UTF-16 units, is cut at a whole character and says so."""
    kept = character.replace("\x00", "")
    units = len(kept.encode("utf-16-le")) // 2
    fitting = character * (32_767 // units)
    longer = character * 100_000
    (first,), (second,), (third,) = rows_of(written([[fitting], [fitting + character], [longer]]))
    assert first == fitting.replace("\x00", "")
    room = kept * ((32_767 - len(CUT_MARK)) // units)
    assert second == third == room + CUT_MARK


def test_numbers_are_numbers_as_far_as_a_cell_keeps_their_digits() -> None:
    """Numbers of 15 digits before the point are numbers; longer ones become text, and no digit of them is lost."""
    long = "9" * 5000
    literals = {
        "0": 0,
        "-7": -7,
        "999999999999999": 999999999999999,
        "-999999999999999": -999999999999999,
        "12.5": 12.5,
        "-0.0005": -0.0005,
        "1e-7": 1e-7,
        "1e20": 1e20,
        "999999999999999.25": 999999999999999.2,
        "1000000000000000": "1000000000000000",
        "-9223372036854775808": "-9223372036854775808",
        "12345678901234567890": "12345678901234567890",
        "123456789012345678901234567890": "123456789012345678901234567890",
        "1234567890123456.25": "1234567890123456.25",
        "1e400": "1e400",
        long: long,
    }
    lines = [f"[{literal}]".encode() for literal in literals]
    assert rows_of(workbook(lines, Layout(["number"], ["NUMBER"]))) == [[value] for value in literals.values()]
    assert rows_of(workbook([b'[7, 12345678901234567890, "0012", true, 0.5]'], Layout(["a"] * 5, ["TEXT"] * 5))) == [
        [7, "12345678901234567890", "0012", True, 0.5]
    ]


def test_dates_and_times_are_real_ones() -> None:
    """Dates and times in their columns are Excel's own, in UTC; what it has no number for stays the text it was."""
    dates = {
        "2026-11-21": datetime(2026, 11, 21),
        "1900-01-01": datetime(1900, 1, 1),
        "1900-02-28": datetime(1900, 2, 28),
        "1900-03-01": datetime(1900, 3, 1),
        "9999-12-31": datetime(9999, 12, 31),
        **{text: text for text in ["1899-12-31", "0001-01-01", "2026-02-30", "2026-W01-1", "infinity", "=1", ""]},
    }
    times = {
        "2026-11-21T12:00:00Z": datetime(2026, 11, 21, 12),
        "2026-11-21T12:00:00.123999Z": datetime(2026, 11, 21, 12, 0, 0, 123000),
        "2026-11-21T00:30:00.5+02:00": datetime(2026, 11, 20, 22, 30, 0, 500000),
        "1900-01-01T00:00:01+00": datetime(1900, 1, 1, 0, 0, 1),
        "1900-01-01T00:00:00+01:00": "1900-01-01T00:00:00+01:00",
        "1899-12-31T23:59:59Z": "1899-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00": "0001-01-01T00:00:00+14:00",
        "2026-11-21T25:00:00Z": "2026-11-21T25:00:00Z",
        "2026-11-21": "2026-11-21",
    }
    assert rows_of(written([[text] for text in dates], ["DATE"])) == [[value] for value in dates.values()]
    assert rows_of(written([[text] for text in times], ["TIME"])) == [[value] for value in times.values()]
    (sheet,) = sheets_of(written([["2026-11-21", "2026-11-21T12:00:00Z"]], ["DATE", "TIME"]))
    assert [cell.number_format for cell in sheet[2]] == ["yyyy\\-mm\\-dd", "yyyy\\-mm\\-dd\\ hh:mm:ss"]


@pytest.mark.parametrize("kind", ["TEXT", "INTEGER", "NUMBER", "BOOLEAN", "DATE", "TIME"])
def test_values_of_another_type_are_written_as_what_they_are(kind: str) -> None:
    """The kind of a column forces nothing: each value is written by its own type."""
    values = ["x", 7, 0.5, True, False, None, 1, 0, "1"]
    nested = [["a", "=1"], {"b": None}]
    read = rows_of(written([[value] for value in [*values, *nested]], [kind]))
    assert read == [[value] for value in [*values, '["a", "=1"]', '{"b": null}']]
    assert [type(value) for (value,) in read[:9]] == [type(value) for value in values]


def test_headers_are_text_whatever_they_say() -> None:
    """Duplicate, empty, hostile and endless headers stand above their columns, bold, and stay when one scrolls."""
    headers = [*HOSTILE, "same", "same", "", "x" * 100_000, "a\x00b"]
    values = list(range(len(headers)))
    content = workbook([json.dumps(values).encode()], Layout(headers, ["INTEGER"] * len(headers)))
    (sheet,) = sheets_of(content)
    first, second = values_of(sheet)
    assert first == [*headers[:-2], "x" * (32_767 - len(CUT_MARK)) + CUT_MARK, "ab"]
    assert second == values
    assert sheet.freeze_panes == "A2"
    assert sheet.sheet_view.pane.state == "frozen"
    assert all(cell.font.bold for cell in sheet[1])
    assert not any(cell.font.bold for cell in sheet[2])


@pytest.mark.parametrize(("rows", "sheets"), [(0, 1), (1, 1), (9, 1), (10, 2), (18, 2), (19, 3)])
def test_a_full_sheet_is_followed_by_another(rows: int, sheets: int) -> None:
    """Each sheet has the header and as many rows as there is room for; none is empty but for a lone first one."""
    layout = Layout(["n"], ["INTEGER"], most_rows=10)
    read = sheets_of(workbook([f"[{number}]".encode() for number in range(rows)], layout))
    assert [sheet.title for sheet in read] == ["Export", "Export 2", "Export 3"][:sheets]
    assert all(values_of(sheet)[0] == ["n"] for sheet in read)
    assert [value for sheet in read for (value,) in values_of(sheet)[1:]] == list(range(rows))
    assert all(sheet.max_row == 10 for sheet in read[:-1])


def test_a_sheet_of_too_many_bytes_is_followed_by_another() -> None:
    """A sheet also ends before its XML is too long for an archive that every program opens."""
    layout = Layout(["text"], ["TEXT"], most_bytes=3_000_000)
    texts = [f"{number:05}" * 2000 for number in range(500)]
    content = workbook([json.dumps([text]).encode() for text in texts], layout)
    read = sheets_of(content)
    assert len(read) == 2
    assert [value for sheet in read for (value,) in values_of(sheet)[1:]] == texts
    assert all(part.extract_version == 20 and not part.extra for part in ZipFile(io.BytesIO(content)).infolist())


def test_columns_are_named_as_in_a_sheet() -> None:
    """The names of the columns go on after Z, and there are no more columns than a sheet has."""
    assert [letters(place) for place in (0, 25, 26, 701, 702, 16_383)] == ["A", "Z", "AA", "ZZ", "AAA", "XFD"]
    with pytest.raises(ValueError, match="16384"):
        workbook([], Layout(["x"] * 16_385, ["TEXT"] * 16_385))


@pytest.mark.parametrize("line", ['["a"', '["a"]', '["a", "b", "c"]', '["a", NaN]', '["a", Infinity]', "7", ""])
def test_lines_that_are_no_rows_are_refused(line: str) -> None:
    """A line that is not JSON, or has not one value a column, ends the writing: nothing is left out in silence."""
    with pytest.raises((ValueError, TypeError)):
        workbook([line.encode()], Layout(["a", "b"], ["TEXT", "TEXT"]))


def test_pieces_are_read_as_one(tmp_path: Path) -> None:
    """Only the first bytes of a piece count, a line may go on in the next, and the last needs no end."""
    contents = [b'["a"]\n["b', b'"]\n', b"", b'["c"]\n["d"]']
    pieces = []
    for number, content in enumerate(contents):
        path = tmp_path / str(number)
        path.write_bytes(content + b"what an attempt wrote after its last checkpoint")
        pieces.append((path, len(content)))
    assert list(lines_of(pieces)) == [b'["a"]', b'["b"]', b'["c"]', b'["d"]']
    with pytest.raises(OSError, match="No data available"):
        list(lines_of([(tmp_path / "0", 1000)]))

"""What is a workbook, as a file? A ZIP of XML parts (ECMA-376 parts 1 and 2), written in one pass as the rows come.

The same rows make the same bytes, whenever and wherever they are written: no part tells the time. No more than about a
megabyte of rows is in memory. A sheet ends when it is full, and the next one begins with the header again. It is also
full at two gigabytes of XML, since beyond that a part needs the ZIP64 form, of which Excel reads only some variants
(COMPRESS-474 of Apache Commons tells which).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final
from zipfile import ZIP_DEFLATED, ZipFile

from jobs.exports.workbook_cells import Rows, letters

MOST_ROWS: Final = 1_048_576
MOST_BYTES: Final = 2_000_000_000
_BATCH: Final = 1_000_000
# One level more costs 5 % of the time and saves 13 % of the file; those above cost much more than they save.
_LEVEL: Final = 3

_WIDTHS: Final = {"DATE": 11, "TIME": 19}
_WIDTH: Final = 14

_XML: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_RELATIONS: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_CONTENT: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"

# The cells' styles in the order of the constants of `workbook_cells`: plain, date, time, header, quoted, quoted header.
_STYLES: Final = (
    f'<styleSheet xmlns="{_MAIN}">'
    '<numFmts count="2"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd"/>'
    '<numFmt numFmtId="165" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/></numFmts>'
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/><family val="2"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/><family val="2"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill>'
    '</fills><borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="6"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
    '<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0" quotePrefix="1"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1" quotePrefix="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)
# Programs that tell the type of a file by its beginning look for these parts, in this order. How many sheets will
# follow is not known yet, so a part that is not listed by its name is a sheet.
_FIRST_PARTS: Final = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Default Extension="xml" ContentType="{_CONTENT}.worksheet+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_CONTENT}.sheet.main+xml"/>'
    f'<Override PartName="/xl/styles.xml" ContentType="{_CONTENT}.styles+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/styles.xml": _STYLES,
}


@dataclass(frozen=True)
class Layout:
    """The columns' headers and the names of their kinds, and how much a sheet holds, its header row counted."""

    headers: Sequence[str]
    kinds: Sequence[str]
    most_rows: int = MOST_ROWS
    most_bytes: int = MOST_BYTES


def write_workbook_file(out: BinaryIO, layout: Layout, lines: Iterable[bytes], written: Callable[[int], None]) -> int:
    """Writes lines of JSON arrays as a workbook, and answers their number; `written` hears meanwhile how many are done.

    `out` must be seekable. ValueError: a line that is not an array of one value a column. OSError: as `out` raises it.
    """
    sheets = _Sheets(layout, lines, written)
    with ZipFile(out, "w", ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, text in _FIRST_PARTS.items():
            _write_part(archive, name, text)
        while sheets.more():
            with archive.open(f"xl/worksheets/sheet{sheets.begun + 1}.xml", "w") as part:
                for xml in sheets.sheet():
                    part.write(xml)
        for name, text in _last_parts(sheets.begun).items():
            _write_part(archive, name, text)
    return sheets.rows


def _write_part(archive: ZipFile, name: str, text: str) -> None:
    with archive.open(name, "w") as part:
        part.write(f"{_XML}{text}".encode())


class _Sheets:
    """Lines, and how far they are written; `rows` counts them without headers, `begun` the sheets."""

    def __init__(self, layout: Layout, lines: Iterable[bytes], written: Callable[[int], None]) -> None:
        self._layout = layout
        self._written = written
        self._row = Rows(layout.kinds)
        self._header = self._row.header(layout.headers)
        self._lines = iter(lines)
        self._line = next(self._lines, None)
        self.rows = 0
        self.begun = 0

    def more(self) -> bool:
        """Whether another sheet is to be written; there is always a first one."""
        return self.begun == 0 or self._line is not None

    def sheet(self) -> Iterator[bytes]:
        """The next sheet, piece by piece."""
        self.begun += 1
        before = self.rows
        size = 0
        yield self._beginning().encode()
        while self._line is not None and size < self._layout.most_bytes:
            batch = self._batch(before)
            if not batch:
                break
            size += len(batch)
            yield batch
            self._written(self.rows)
        yield self._end(1 + self.rows - before).encode()

    def _batch(self, before: int) -> bytes:
        """The XML of the next rows, after so many in the sheets before this one; nothing when the sheet has no room."""
        rows: list[str] = []
        size = 0
        while self._line is not None and size < _BATCH and 1 + self.rows - before < self._layout.most_rows:
            self.rows += 1
            rows.append(self._row.row(1 + self.rows - before, self._line))
            size += len(rows[-1])
            self._line = next(self._lines, None)
        return "".join(rows).encode()

    def _beginning(self) -> str:
        widths = "".join(
            f'<col min="{place}" max="{place}" width="{_WIDTHS.get(kind, _WIDTH)}" customWidth="1"/>'
            for place, kind in enumerate(self._layout.kinds, start=1)
        )
        return (
            f'{_XML}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
            '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/><selection pane="bottomLeft"/>'
            f"</sheetView></sheetViews>{f'<cols>{widths}</cols>' if widths else ''}<sheetData>{self._header}"
        )

    def _end(self, rows: int) -> str:
        """Says that digits stored as text are meant, so that Excel does not mark them as mistakes."""
        last = letters(max(len(self._layout.kinds), 1) - 1)
        meant = f'<ignoredError sqref="A1:{last}{rows}" numberStoredAsText="1"/>'
        return f"</sheetData><ignoredErrors>{meant}</ignoredErrors></worksheet>"


def _last_parts(sheets: int) -> dict[str, str]:
    """The parts that tell how many sheets there are."""
    numbers = range(1, sheets + 1)
    names = "".join(
        f'<sheet name="Export{f" {number}" if number > 1 else ""}" sheetId="{number}" r:id="rId{number}"/>'
        for number in numbers
    )
    relations = "".join(
        f'<Relationship Id="rId{number}" Type="{_RELATIONS}/worksheet" Target="worksheets/sheet{number}.xml"/>'
        for number in numbers
    )
    return {
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{relations}'
        f'<Relationship Id="rId{sheets + 1}" Type="{_RELATIONS}/styles" Target="styles.xml"/></Relationships>',
    }

"""Which blocks does HTML fall into, when nothing but its text, its lists, its tables and its plainest styles matter?

The blocks are a flat list: whatever is nested in the HTML is nested no more, and no depth of it is one of what is made
of the blocks. Images are left out but for their alternative text, and so is all of CSS but bold, italic, lines through
and under the text, alignment, and what is not to be shown.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Literal, NotRequired, TypedDict, TypeVar

from content.html import BLOCKS, UNWANTED
from content.scanner import EndTag, StartTag, Text, tokens
from content.text import PARAGRAPHS, SPACES

LONGEST_LINK: Final = 2_000
DEEPEST_INDENT: Final = 8
# A table of more is no table to look at; and a cell takes no more than these.
MOST_COLUMNS: Final = 20
MOST_ROWS_JOINED: Final = 100

# What is longer than a line may be broken anywhere; a zero-width space says so.
LONG_WORD: Final = re.compile(r"[^ \n\u200b]{60,}")
SOME_LETTERS: Final = re.compile(r".{10}", re.DOTALL)
LINK: Final = re.compile(r"(?:https?://|mailto:)[^\s]+", re.IGNORECASE)
DECLARATION: Final = re.compile(r"(?:^|;)\s*([a-z-]+)\s*:\s*([^;]*)", re.IGNORECASE)

HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
# Bold, italic, underlined, struck through, raised, lowered.
STYLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("b", "strong", "th", *HEADINGS), "b"),
    **dict.fromkeys(("i", "em", "cite", "dfn", "var"), "i"),
    **dict.fromkeys(("u", "ins"), "u"),
    **dict.fromkeys(("s", "strike", "del"), "s"),
    "sup": "^",
    "sub": "_",
}
SLANTED_OR_BOLD: Final = frozenset(("bold", "bolder", "600", "700", "800", "900", "italic", "oblique"))
ALIGNMENTS: Final = frozenset(("left", "right", "center", "justify"))
VOID: Final = frozenset(("br", "col", "hr", "img", "input", "link", "meta", "wbr"))

Run = list[str]
"""Text (`"\\n"` is a new line), its styles, and the link if it is one."""


class Placed(TypedDict, total=False):
    """Whether there is a gap above, and by how many steps it is indented."""

    gap: bool
    indent: int


class TextBlock(Placed):
    """Text; what is not there is not so."""

    kind: Literal["text"]
    runs: list[Run]
    align: NotRequired[str]
    rtl: NotRequired[bool]
    heading: NotRequired[int]
    marker: NotRequired[str]


class RuleBlock(Placed):
    """A line across."""

    kind: Literal["rule"]


class CellData(TypedDict):
    """A cell: its place, how many columns and rows it takes, and what is in it, which is no table."""

    x: int
    y: int
    width: int
    height: int
    blocks: list[Block]


class TableBlock(Placed):
    """A table of at least two columns."""

    kind: Literal["table"]
    columns: int
    borders: bool
    cells: list[CellData]


Block = TextBlock | RuleBlock | TableBlock
PlacedBlock = TypeVar("PlacedBlock", TextBlock, RuleBlock, TableBlock)


def blocks_of(document: str) -> list[Block]:
    """The blocks of HTML, best of such as `cleaned` gave: time is that of its length and its depth. Never raises."""
    reader = Reader()
    for token in tokens(document):
        match token:
            case Text(raw=None):
                reader.text(UNWANTED.sub("", html.unescape(token.content)))
            case StartTag():
                reader.start(token)
            case EndTag():
                reader.end(token.name)
    return reader.finished()


@dataclass(frozen=True, slots=True)
class Style:
    """What an element hands down to those in it."""

    runs: str = ""
    link: str | None = None
    align: str | None = None
    direction: str | None = None
    indent: int = 0
    heading: int = 0
    hidden: bool = False
    kept: bool = False  # spaces and line breaks stay as they are


@dataclass(slots=True)
class Element:
    """An open element: the style within it, and for a list its next number (None: bullets)."""

    name: str
    style: Style
    number: int | None = None


@dataclass(slots=True)
class Table:
    """An open table; `outside`: the blocks that it will be one of."""

    outside: list[Block]
    style: Style
    gap: bool
    borders: bool
    cells: list[CellData] = field(default_factory=list)
    taken: set[tuple[int, int]] = field(default_factory=set)
    row: int = -1
    columns: int = 0

    def cell(self, width: int, height: int) -> list[Block]:
        """A further cell of the row, at the first free place, as wide as there is room; its blocks, to be filled."""
        self.row = max(self.row, 0)
        x, end = 0, 0
        # Of a table that has too many columns no place matters.
        if self.columns <= MOST_COLUMNS:
            while (x, self.row) in self.taken:
                x += 1
            end = x + 1
            while end < x + width and (end, self.row) not in self.taken:
                end += 1
            self.taken.update((column, self.row + below) for column in range(x, end) for below in range(height))
            self.columns = max(self.columns, end)
        blocks: list[Block] = []
        self.cells.append(CellData(x=x, y=self.row, width=end - x, height=height, blocks=blocks))
        return blocks


class Reader:
    """Takes tokens and gives blocks; the HTML need not be well nested."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.open: list[Element] = []
        self.tables: list[Table] = []
        self.runs: list[Run] = []
        # Spaces that are written when words follow, in the style of where they stand.
        self.space: Style | None = None
        self.gap = False
        self.marker: str | None = None
        # That of the element in which the block began.
        self.began: Style | None = None

    @property
    def style(self) -> Style:
        return self.open[-1].style if self.open else Style()

    def finished(self) -> list[Block]:
        """All blocks; whatever is still open ends here."""
        self.close_down_to(0)
        self.end_block()
        return self.blocks

    def text(self, text: str) -> None:
        if self.style.hidden:
            return
        if self.style.kept:
            for line in re.split("(\n)", text.expandtabs().replace("\r\n", "\n").replace(" ", "\u00a0")):
                self.add(line, self.style)
            return
        collapsed = SPACES.sub(" ", text)
        words = collapsed.strip(" ")
        if collapsed.startswith(" "):
            self.space = self.space or self.style
        if words:
            if self.space and self.runs and self.runs[-1][0] != "\n":
                self.add(" ", self.space)
            self.add(words, self.style)
            self.space = self.style if collapsed.endswith(" ") else None

    def add(self, text: str, style: Style) -> None:
        """Puts text into the block, which begins with it if there is none."""
        if not text:
            return
        if self.began is None:
            self.began = style
        run = [text, style.runs, *([style.link] if style.link else [])]
        if self.runs and text != "\n" and self.runs[-1][0] != "\n" and self.runs[-1][1:] == run[1:]:
            self.runs[-1][0] += text
        else:
            self.runs.append(run)

    def end_block(self, *, item: bool = False) -> None:
        """What follows stands on lines of its own; `item`: and not beside the marker that waits for words."""
        if self.runs or (item and self.marker is not None):
            style = self.began or self.style
            if self.runs and self.runs[-1][0] == "\n":
                self.runs.pop()
            runs = [[broken(run[0]), *run[1:]] for run in self.runs] or [["\u00a0", ""]]
            self.blocks.append(text_block(runs, style, gap=self.gap, marker=self.marker))
            self.gap, self.marker = False, None
        self.runs, self.space, self.began = [], None, None

    def boundary(self, name: str) -> None:
        """Ends the block where an element of this name begins or ends, if it is none within a line."""
        if name in BLOCKS or name in {"caption", "tr", "td", "th"}:
            self.end_block()
            in_list = any(element.name in {"ul", "ol"} for element in self.open)
            self.gap = self.gap or (name in PARAGRAPHS and not in_list)

    def start(self, tag: StartTag) -> None:
        name = tag.name
        values = {attribute.name: html.unescape(attribute.value) for attribute in tag.attributes}
        style = styled(self.style, name, values)
        if not style.hidden:
            self.begin(name, values, style)
        if name not in VOID:
            self.open.append(Element(name, style, whole(values.get("start"), 1, 10**6) if name == "ol" else None))

    def begin(self, name: str, values: Mapping[str, str], style: Style) -> None:
        match name:
            case "br":
                self.add("\n", style)
                self.space = None
            case "img":
                self.text(UNWANTED.sub("", values.get("alt", "")))
            case "td" | "th" | "tr" | "table":
                self.start_table_part(name, values, style)
            case "li":
                self.end_block(item=True)
                self.marker = self.next_marker()
            case "hr":
                self.end_block()
                self.blocks.append(placed(RuleBlock(kind="rule"), style, gap=self.gap))
            case _:
                self.boundary(name)

    def next_marker(self) -> str:
        """The number or the bullet of the next item of the innermost list."""
        for element in reversed(self.open):
            if element.name == "ol" and element.number is not None:
                element.number += 1
                return f"{element.number - 1}."
            if element.name == "ul":
                break
        return "•"

    def start_table_part(self, name: str, values: Mapping[str, str], style: Style) -> None:
        self.end_block(item=True)
        table = self.tables[-1] if self.tables else None
        if name == "table":
            borders = values.get("border", "0").strip() not in {"", "0"}
            self.tables.append(Table(self.blocks, style, self.gap or not self.tables, borders))
            self.gap = False
        elif table is not None and name == "tr":
            table.row += 1
        elif table is not None:
            table.borders = table.borders or "border" in values.get("style", "")
            width = whole(values.get("colspan"), 1, MOST_COLUMNS + 1)
            self.blocks = table.cell(width, whole(values.get("rowspan"), 1, MOST_ROWS_JOINED))

    def end(self, name: str) -> None:
        """Closes the innermost such element and all in it."""
        for depth in range(len(self.open) - 1, -1, -1):
            if self.open[depth].name == name:
                self.close_down_to(depth)
                return

    def close_down_to(self, depth: int) -> None:
        while len(self.open) > depth:
            if not self.style.hidden:
                self.close(self.open[-1].name)
            self.open.pop()

    def close(self, name: str) -> None:
        if name == "li":
            self.end_block(item=True)
        self.boundary(name)
        if name in {"table", "td", "th"} and self.tables:
            self.blocks = self.tables[-1].outside
            self.gap = False
        if name == "table" and self.tables:
            self.end_table(self.tables.pop())

    def end_table(self, table: Table) -> None:
        """Puts the table behind the blocks before it; of a single column, or of too many, its cells' blocks only."""
        if not 1 < table.columns <= MOST_COLUMNS:
            self.blocks += (block for cell in table.cells for block in cell["blocks"])
        else:
            for cell in table.cells:
                cell["blocks"] = list(without_tables(cell["blocks"]))
                cell["height"] = min(cell["height"], table.row + 1 - cell["y"])
            block = TableBlock(kind="table", columns=table.columns, borders=table.borders, cells=table.cells)
            self.blocks.append(placed(block, table.style, gap=table.gap))
        self.gap = True


def styled(outer: Style, name: str, values: Mapping[str, str]) -> Style:
    """The style within an element, whose attributes' values are text."""
    declared = {key.lower(): value.strip().lower() for key, value in DECLARATION.findall(values.get("style", ""))}
    align = declared.get("text-align", values.get("align", "center" if name in {"center", "th"} else "")).lower()
    direction = values.get("dir", "").lower()
    href = values.get("href", "").strip()
    steps = outer.indent + (name in {"ul", "ol", "blockquote", "dd"})
    return Style(
        run_styles(outer.runs, name, declared),
        href if name == "a" and len(href) <= LONGEST_LINK and LINK.fullmatch(href) else outer.link,
        align if align in ALIGNMENTS else outer.align,
        direction if direction in {"ltr", "rtl"} else outer.direction,
        0 if name in {"td", "th"} else min(steps, DEEPEST_INDENT),
        HEADINGS.get(name, outer.heading),
        outer.hidden or declared.get("display") == "none",
        outer.kept or name == "pre",
    )


def run_styles(outer: str, element: str, declared: Mapping[str, str]) -> str:
    found = {*outer, STYLES.get(element, "")} - {""}
    for name, sign in (("font-weight", "b"), ("font-style", "i")):
        if name in declared:
            found -= {sign}
            found |= {sign} if declared[name] in SLANTED_OR_BOLD else set()
    decoration = declared.get("text-decoration", "")
    found |= {sign for word, sign in (("underline", "u"), ("line-through", "s")) if word in decoration}
    return "".join(sorted(found))


def text_block(runs: list[Run], style: Style = Style(), *, gap: bool = False, marker: str | None = None) -> TextBlock:
    """The block of these runs; where no element says which way it is read, its first letter does."""
    block = TextBlock(kind="text", runs=runs)
    if style.align:
        block["align"] = style.align
    if style.heading:
        block["heading"] = style.heading
    if marker is not None:
        block["marker"] = marker
    if (style.direction or direction_of(runs)) == "rtl":
        block["rtl"] = True
    return placed(block, style, gap=gap)


def placed(block: PlacedBlock, style: Style, *, gap: bool) -> PlacedBlock:
    if gap:
        block["gap"] = True
    if style.indent:
        block["indent"] = style.indent
    return block


def direction_of(runs: Sequence[Run]) -> Literal["ltr", "rtl"]:
    """By the first letter that is read one way (UAX 9, P2)."""
    kinds = (unicodedata.bidirectional(letter) for run in runs for letter in run[0])
    return "rtl" if next((kind for kind in kinds if kind in {"L", "R", "AL"}), "L") != "L" else "ltr"


def without_tables(blocks: Sequence[Block]) -> Iterator[Block]:
    """The blocks, with those of its cells in the place of a table."""
    for block in blocks:
        yield from (
            chain.from_iterable(cell["blocks"] for cell in block["cells"]) if block["kind"] == "table" else (block,)
        )


def broken(text: str) -> str:
    """The text with places where words that are longer than a line may be broken."""
    return LONG_WORD.sub(lambda word: SOME_LETTERS.sub("\\g<0>\u200b", word[0]), text)


def whole(written: str | None, least: int, most: int) -> int:
    """The number that is written, within bounds; the least if none is."""
    digits = (written or "").strip()[:9]
    return min(max(int(digits), least), most) if digits.isdecimal() else least

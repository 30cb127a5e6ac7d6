"""What is a letter, and which data is it to whoever sets its pages?

A letter is an HTML document that begins with the address of whom it is for.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypedDict

from content.html import UNWANTED
from content.letter_blocks import Block, TextBlock, blocks_of, broken, text_block
from content.rendering import HEAD, CompiledMessage, compile_message

# In millimetres: top, right, bottom, left. What is wider leaves no room for words: a page is 210 wide and 297 high.
USUAL_MARGINS: Final = (20.0, 25.0, 20.0, 25.0)
WIDEST_MARGINS: Final = (120.0, 75.0, 120.0, 75.0)

LONGEST_ADDRESS_LINE: Final = 200
MOST_ADDRESS_LINES: Final = 10
ADDRESS: Final = re.compile(re.escape(HEAD) + r'<address class="recipient">(.*?)</address>\n', re.DOTALL)
LINE: Final = "<br>\n"


class LetterData(TypedDict):
    """A letter as the press takes it; margins are top, right, bottom, left in millimetres."""

    address: list[TextBlock]
    margins: list[float]
    blocks: list[Block]


@dataclass(frozen=True)
class Margins:
    """The margins of a page in millimetres; None: as usual."""

    top: float | None = None
    right: float | None = None
    bottom: float | None = None
    left: float | None = None

    def lengths(self) -> list[float]:
        """Top, right, bottom, left, each within what leaves room for words."""
        given = (self.top, self.right, self.bottom, self.left)
        return [
            usual if length is None or not math.isfinite(length) else min(max(length, 0.0), widest)
            for length, usual, widest in zip(given, USUAL_MARGINS, WIDEST_MARGINS, strict=True)
        ]


@dataclass(frozen=True)
class CompiledLetter:
    """A letter of which only the values of the merge fields are missing. Immutable, safe to share and to pickle."""

    message: CompiledMessage

    @property
    def characters(self) -> int:
        """How long it is as HTML, but for the values."""
        return sum(map(len, self.message.html.literals))

    def render(self, values: Mapping[str, str | None]) -> str:
        """The HTML document for one contact, whose address comes first; `values` are `CompiledMessage.render`'s."""
        document = self.message.render(values).html
        lines = LINE.join(html.escape(line) for line in address_lines(values))
        return f'{HEAD}<address class="recipient">{lines}</address>\n{document.removeprefix(HEAD)}'


def compile_letter(*, content: str, template: str | None) -> CompiledLetter:
    """Cleans and takes apart a letter, once for all whom it is for; as `compile_message`, never raises."""
    return CompiledLetter(compile_message(subject="", content=content, template=template))


def address_lines(values: Mapping[str, str | None]) -> list[str]:
    """What stands in the window of the envelope: name, street, postal code and city, state, country; no empty lines."""

    def joined(*names: str) -> str:
        return " ".join(value for name in names if (value := values.get(f"contact.{name}")))

    parts = (
        joined("first_name", "last_name"),
        *joined("address").splitlines(),
        joined("zip_code", "city"),
        joined("state_region"),
        joined("country"),
    )
    lines = (" ".join(UNWANTED.sub("", part).split())[:LONGEST_ADDRESS_LINE] for part in parts)
    return [line for line in lines if line][:MOST_ADDRESS_LINES]


def addressee(document: str) -> str:
    """The first line of the address in a letter that `CompiledLetter.render` gave; empty if there is none."""
    found = ADDRESS.match(document)
    return html.unescape(found[1].partition(LINE)[0]) if found else ""


def letter_data(document: str, margins: Margins) -> LetterData:
    """What the press needs of a letter that `CompiledLetter.render` gave, or of any other HTML. Time is linear."""
    found = ADDRESS.match(document)
    lines = [html.unescape(line) for line in found[1].split(LINE)] if found else []
    return LetterData(
        address=[text_block([[broken(line), ""]]) for line in lines if line],
        margins=margins.lengths(),
        blocks=blocks_of(document[found.end() :] if found else document),
    )

"""Which HTML may a mail hold? Tables, text, images and links, with styles at the elements as mail programs want them.

Three steps. A pass of our own keeps the listed elements, closes them in order and bounds their depth, because the
parser that css-inline and nh3 share takes quadratic time for many open elements, and css-inline runs out of stack on
deep ones. css-inline then turns style sheets into attributes, and nh3 parses all that as a browser does and has the
last word.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass

import css_inline
import nh3

from content.scanner import EndTag, StartTag, Text, Token, tokens
from content.styles import media_sheet, safe_declarations, safe_sheet

BLOCKS = frozenset(
    (
        *("address", "article", "blockquote", "center", "dd", "div", "dl", "dt", "footer", "h1", "h2", "h3", "h4"),
        *("h5", "h6", "header", "hr", "li", "main", "ol", "p", "pre", "section", "table", "ul"),
    )
)
TABLE_PARTS = frozenset(("caption", "col", "colgroup", "table", "tbody", "td", "tfoot", "th", "thead", "tr"))
INLINE = frozenset(
    (
        *("a", "abbr", "b", "bdi", "bdo", "big", "br", "cite", "code", "del", "dfn", "em", "font", "i", "img", "ins"),
        *("kbd", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var", "wbr"),
    )
)
ELEMENTS = BLOCKS | TABLE_PARTS | INLINE
VOID = frozenset(("br", "col", "hr", "img", "wbr"))
EVERYWHERE = frozenset(
    ("align", "bgcolor", "class", "dir", "height", "id", "lang", "role", "style", "title", "valign", "width")
)
ATTRIBUTES: Mapping[str, frozenset[str]] = {
    "a": frozenset(("href", "name")),
    "img": frozenset(("alt", "border", "hspace", "src", "vspace")),
    "table": frozenset(("border", "cellpadding", "cellspacing", "frame", "rules", "summary")),
    "td": frozenset(("abbr", "axis", "bordercolor", "colspan", "headers", "nowrap", "rowspan", "scope")),
    "th": frozenset(("abbr", "axis", "bordercolor", "colspan", "headers", "nowrap", "rowspan", "scope")),
    "col": frozenset(("span",)),
    "colgroup": frozenset(("span",)),
    "font": frozenset(("color", "face", "size")),
    "hr": frozenset(("color", "noshade", "size")),
    "ol": frozenset(("start", "type")),
    "ul": frozenset(("type",)),
    "li": frozenset(("type", "value")),
}
SCHEMES = frozenset(("http", "https", "mailto", "tel"))

# nh3 takes quadratic time for many entities. So it sees none: these characters travel in disguise.
AMPERSAND, LESS, QUOTE = "\ue002", "\ue003", "\ue004"
DISGUISED = str.maketrans({"&": AMPERSAND, "<": LESS, '"': QUOTE})
UNDISGUISED = str.maketrans({AMPERSAND: "&amp;", LESS: "&lt;", QUOTE: "&quot;"})
# Control characters, surrogates (which no encoding takes) and the disguises themselves.
UNWANTED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ue002-\ue004\ufffe\uffff]")

PLACEHOLDER = re.compile("(\ue000[0-9]{1,6}\ue001)")
SPELLED = re.compile(f"[\ue000\ue001]|{UNWANTED.pattern}")
RELATIVE = re.compile("[\t\n\f\r ]*(?:#|\ue000[0-9]+\ue001(?:[/?#]|[\t\n\f\r ]*$))")
DEEPEST = 100  # libxml2 and mail programs give up at 256; a cell may bring three elements that are not written
MOST_ELEMENTS = 20_000  # ten times those of a long newsletter; what follows is kept as text
# Bounds of inlining: characters of style sheets times elements for the time, characters for the result.
INLINING_BUDGET = 20_000_000
LONGEST_INLINED = 2_000_000


@dataclass(frozen=True)
class Clean:
    """A fragment, without head and body; and a sheet with what there was for `@media`, to be put into a head."""

    body: str
    media: str


def clean(source: str) -> Clean:
    """The mail HTML that is in any source.

    Style sheets are inlined and gone, but for what they say of media; nothing is fetched. The body is in the plain form
    that nh3 writes: well nested, attributes in double quotes. Never raises; what cannot be understood is left out or
    stays text. Elements beyond the bounds of depth and number are left out, not their text; sheets beyond those of
    inlining too.
    """
    writer = tamed(source)
    body, sheet = "".join(writer.output), "\n".join(writer.sheets)
    to_inline = safe_sheet(sheet)
    if to_inline and len(to_inline) * writer.elements <= INLINING_BUDGET:
        body = inlined(body, to_inline)
    return Clean(CLEANER.clean(body).translate(UNDISGUISED), media_sheet(sheet))


def cleaned(source: str) -> str:
    """The body of it: see `clean`."""
    return clean(source).body


def inlined(body: str, sheet: str) -> str:
    try:
        result = INLINER.inline(f"<style>{sheet}</style>{body}")
    except css_inline.InlineError:
        return body
    return result if len(result) <= LONGEST_INLINED else body


def tamed(source: str) -> Writer:
    """The listed elements, well nested, entities in disguise; and the style sheets."""
    writer = Writer()
    for token in tokens(UNWANTED.sub("", source)):
        writer.take(token)
    writer.close_down_to(0)
    return writer


class Writer:
    """Writes tokens so that each opened element is closed, in order."""

    def __init__(self) -> None:
        self.output: list[str] = []
        self.sheets: list[str] = []
        self.open: list[str] = []
        self.elements = 0
        # Of the style element that began last.
        self.media = ""

    def take(self, token: Token) -> None:
        match token:
            case Text(raw=None):
                self.output.append(disguised(token.content))
            case Text(raw="style"):
                everywhere = self.media.strip().lower() in {"", "all", "screen"}
                self.sheets.append(token.content if everywhere else f"@media {self.media}{{{token.content}}}")
            case StartTag():
                self.start(token)
            case EndTag():
                self.end("div" if token.name == "body" else token.name)

    def start(self, tag: StartTag) -> None:
        # A fragment has no body; a div keeps the colours that were given to it.
        name = "div" if tag.name == "body" else tag.name
        if name == "style":
            self.media = next((each.value for each in tag.attributes if each.name == "media"), "")
        if name not in ELEMENTS:
            return
        for closed in closed_by(name):
            self.end(closed)
        if name == "a" and "a" in self.open:
            return  # a link around a table: parsers do not agree on what a link in it is
        if self.elements < MOST_ELEMENTS and (name in VOID or len(self.open) < DEEPEST):
            self.output.append(f"<{name}{attributes(name, tag)}>")
            self.elements += 1
            if name not in VOID:
                self.open.append(name)

    def end(self, name: str) -> None:
        """Closes the innermost such element and all in it, unless it lies outside the cell or table one is in."""
        walls = walls_of(name)
        for depth in range(len(self.open) - 1, -1, -1):
            if self.open[depth] == name:
                return self.close_down_to(depth)
            if self.open[depth] in walls:
                return None
        return None

    def close_down_to(self, depth: int) -> None:
        while len(self.open) > depth:
            self.output.append(f"</{self.open.pop()}>")


def closed_by(name: str) -> tuple[str, ...]:
    """Which open elements end where this one begins, without being told so."""
    match name:
        case "li" | "a":
            return (name,) if name == "a" else ("p", name)
        case "dd" | "dt":
            return ("p", "dd", "dt")
        case "td" | "th":
            return ("td", "th")
        case "tr":
            return ("tr",)
        case "tbody" | "thead" | "tfoot":
            return ("tbody", "thead", "tfoot")
    return ("p",) if name in BLOCKS else ()


def walls_of(name: str) -> frozenset[str]:
    """The elements that an end tag of this name does not reach through."""
    if name == "table":
        return frozenset()
    if name in TABLE_PARTS:
        return frozenset(("table",))
    lists = ("ul", "ol", "dl") if name in {"li", "dd", "dt"} else ()
    return frozenset(("table", "td", "th", "caption", *lists))


def attributes(name: str, tag: StartTag) -> str:
    own = ATTRIBUTES.get(name, frozenset())
    kept: dict[str, str] = {}
    for attribute in tag.attributes:
        if attribute.name in EVERYWHERE or attribute.name in own:
            kept.setdefault(attribute.name, attribute.value)
    return "".join(f' {key}="{disguised(value)}"' for key, value in kept.items())


def disguised(written: str) -> str:
    """Text with entities -> the same with none. What entities spell is never a placeholder."""
    pieces = PLACEHOLDER.split(written)
    pieces[::2] = [SPELLED.sub("", html.unescape(piece)) for piece in pieces[::2]]
    return "".join(pieces).translate(DISGUISED)


def filtered(_element: str, name: str, value: str) -> str | None:
    return (safe_declarations(value.replace(QUOTE, '"')) or None) if name == "style" else value


def relative_url(url: str) -> str | None:
    """A mail has no place that an address could be relative to: only anchors, and addresses that a field will give.

    What follows the field must not become a scheme when the field is left out.
    """
    return url if RELATIVE.match(url) else None


INLINER = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=False, keep_link_tags=False)
CLEANER = nh3.Cleaner(
    tags=ELEMENTS,
    clean_content_tags={"script", "style"},
    attributes={"*": EVERYWHERE, **ATTRIBUTES},
    attribute_filter=filtered,
    link_rel=None,
    url_schemes=SCHEMES,
    url_relative=relative_url,
)

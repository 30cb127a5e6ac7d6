"""Into which tags and texts does HTML fall? Split as a browser does (WHATWG HTML, 13.2.5), in linear time.

`html.parser` takes quadratic time for unclosed tags and comments and differs from browsers where it matters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

SPACE = "\t\n\f\r "
MARKUP = re.compile(rf"<(?:(?P<end>/?)(?P<name>[a-zA-Z][^{SPACE}/>]*)|(?P<comment>!--)|[!?/])")
COMMENT_END = re.compile(r"--!?>")
# Possessive quantifiers: what was skipped is never tried again.
ATTRIBUTE = re.compile(
    rf"[{SPACE}/]*+(?:(?P<close>>)|(?P<name>[^{SPACE}/>][^{SPACE}/>=]*+)"
    rf"(?:[{SPACE}]*+=[{SPACE}]*+(?:\"(?P<double>[^\"]*+)\"?|'(?P<single>[^']*+)'?|(?P<bare>[^{SPACE}>]*+)))?+)"
)
RAW_TEXT = {
    name: re.compile(rf"</{name}(?=[{SPACE}/>])", re.IGNORECASE)
    for name in ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes")
}
VALUES = ("double", "single", "bare")


@dataclass(frozen=True, slots=True)
class Attribute:
    """As written: entities are not decoded. `position` is that of the value; the name is in lower case."""

    name: str
    value: str
    position: int
    quoted: bool


@dataclass(frozen=True, slots=True)
class Text:
    """What stands between tags, entities not decoded; or all that stands in a `raw` element, such as style."""

    content: str
    position: int
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class StartTag:
    """`source` reaches from the bracket to the bracket, at `position`; the name is in lower case."""

    name: str
    attributes: tuple[Attribute, ...]
    source: str
    position: int


@dataclass(frozen=True, slots=True)
class EndTag:
    """Its attributes mean nothing and are not kept."""

    name: str
    position: int


Token = Text | StartTag | EndTag


def tokens(source: str) -> Iterator[Token]:
    """The tags and texts in their order, without comments and declarations; what is cut off by the end is left out."""
    position = 0
    text_from = 0
    while match := MARKUP.search(source, position):
        if match.start() > text_from:
            yield Text(source[text_from : match.start()], text_from)
        name = match["name"]
        if name is None:
            position = after_comment(source, match)
        else:
            attributes, position = attributes_from(source, match.end())
            if position < 0:
                return
            name = name.lower()
            if match["end"]:
                yield EndTag(name, match.start())
            else:
                yield StartTag(name, attributes, source[match.start() : position], match.start())
                if name in RAW_TEXT:
                    raw = raw_text(source, position, name)
                    position += len(raw.content)
                    yield raw
        if position < 0:
            return
        text_from = position
    if text_from < len(source):
        yield Text(source[text_from:], text_from)


def after_comment(source: str, match: re.Match[str]) -> int:
    """Where the comment or declaration that begins with the match is over; -1 if never."""
    if match["comment"] is None:
        return source.find(">", match.start() + 2) + 1 or -1
    end = COMMENT_END.search(source, match.start() + 2)
    return end.end() if end else -1


def attributes_from(source: str, position: int) -> tuple[tuple[Attribute, ...], int]:
    """The attributes of a tag and where it is over, -1 if never."""
    found: list[Attribute] = []
    while match := ATTRIBUTE.match(source, position):
        position = match.end()
        if match["close"]:
            return tuple(found), position
        kind = next((kind for kind in VALUES if match[kind] is not None), None)
        value, start = (match[kind], match.start(kind)) if kind else ("", position)
        found.append(Attribute(match["name"].lower(), value, start, quoted=kind != "bare"))
    return (), -1


def raw_text(source: str, position: int, name: str) -> Text:
    end = RAW_TEXT[name].search(source, position)
    return Text(source[position : end.start() if end else len(source)], position, raw=name)

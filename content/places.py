"""Where in HTML does each merge field stand, and what must be done to a value there?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from content.merge_fields import UNSUBSCRIBE_URL, Field, Merge
from content.scanner import Attribute, StartTag, Text, tokens

# While HTML is worked on, private use characters around a number stand for a field: no parser takes offence at them in
# text, values and addresses. Sources lose theirs first, and `content.html` those that entities spell: each field
# stands as often as it was written.
OPEN, CLOSE = "\ue000", "\ue001"
PLACEHOLDER = re.compile(f"{OPEN}([0-9]{{1,6}}){CLOSE}")
PRIVATE = str.maketrans("", "", OPEN + CLOSE)

URL_ATTRIBUTES = frozenset(
    (
        *("action", "background", "cite", "classid", "codebase", "data", "dynsrc", "formaction", "href", "icon"),
        *("longdesc", "lowsrc", "manifest", "ping", "poster", "profile", "src", "srcset", "usemap", "xlink:href"),
    )
)
# What must stand before a field for its value to have no say in the scheme and the host.
LEADING = re.compile(
    rf"[\t\n\f\r ]*(?:https?://[^/?#\\{OPEN}]+[/?#]|#|(?P<address>mailto:|tel:)|(?P<start>{OPEN}[0-9]+{CLOSE}[/?#]?))",
    re.IGNORECASE,
)


class Kind(Enum):
    """The kinds of places."""

    TEXT = auto()
    VALUE = auto()  # of a quoted attribute that is neither an address nor code
    WHOLE_URL = auto()  # the beginning of a link, for the one field that is an address
    URL_PART = auto()  # behind the host
    ADDRESS_PART = auto()  # behind mailto: or tel:
    SCHEME = auto()  # where a value would decide what the address is
    STYLE = auto()  # CSS or a program
    TAG = auto()  # a name, an unquoted value, an event handler
    IGNORED = auto()  # such as a title or a textarea, which no mail shows


@dataclass(frozen=True, slots=True)
class Place:
    """One placeholder: its field, its kind, and from where to where it reaches."""

    field: Field
    kind: Kind
    start: int
    end: int


def marked(merge: Merge, fields: list[Field]) -> str:
    """The source with placeholders for its fields, which are added to `fields`."""
    pieces: list[str] = []
    for literal, field in zip(merge.literals, merge.fields, strict=False):
        pieces += (literal.translate(PRIVATE), placeholder(len(fields)))
        fields.append(field)
    return "".join((*pieces, merge.literals[-1].translate(PRIVATE)))


def placeholder(index: int) -> str:
    return f"{OPEN}{index}{CLOSE}"


def places(source: str, fields: Sequence[Field]) -> Iterator[Place]:
    """The places of all placeholders that are in texts and tags, in their order. Those in comments are left out."""
    for token in tokens(source):
        match token:
            case Text():
                yield from within(token.content, token.position, fields, text_kind(token))
            case StartTag() if OPEN in token.source:
                yield from places_in_tag(token, fields)


def text_kind(text: Text) -> Kind:
    if text.raw is None:
        return Kind.TEXT
    return Kind.STYLE if text.raw in {"style", "script"} else Kind.IGNORED


def within(text: str, offset: int, fields: Sequence[Field], kind: Kind) -> Iterator[Place]:
    for match in PLACEHOLDER.finditer(text):
        if int(match[1]) < len(fields):
            yield Place(fields[int(match[1])], kind, offset + match.start(), offset + match.end())


def places_in_tag(tag: StartTag, fields: Sequence[Field]) -> list[Place]:
    found = {place.start: place for place in within(tag.source, tag.position, fields, Kind.TAG)}
    for attribute in tag.attributes:
        if OPEN in attribute.value:
            found |= {place.start: place for place in places_in_value(attribute, fields)}
    return list(found.values())


def places_in_value(attribute: Attribute, fields: Sequence[Field]) -> Iterator[Place]:
    if not attribute.quoted or attribute.name.startswith("on"):
        kind = Kind.TAG
    elif attribute.name == "style":
        kind = Kind.STYLE
    elif attribute.name in URL_ATTRIBUTES:
        yield from places_in_url(attribute, fields)
        return
    else:
        kind = Kind.VALUE
    yield from within(attribute.value, attribute.position, fields, kind)


def places_in_url(attribute: Attribute, fields: Sequence[Field]) -> Iterator[Place]:
    leading = LEADING.match(attribute.value)
    safe_from = leading.end() if leading else len(attribute.value)
    behind = Kind.ADDRESS_PART if leading and leading["address"] else Kind.URL_PART
    for place in within(attribute.value, 0, fields, behind):
        kind = place.kind
        if leading and leading["start"] and place.start == leading.start("start"):
            is_link = attribute.name == "href" and place.field.name == UNSUBSCRIBE_URL
            kind = Kind.WHOLE_URL if is_link else Kind.SCHEME
            if not is_link or leading["start"].endswith(CLOSE):
                safe_from = len(attribute.value)
        elif place.start < safe_from:
            kind = Kind.SCHEME
        yield Place(place.field, kind, attribute.position + place.start, attribute.position + place.end)

"""What does each recipient get? The costly part once a message, then substitution only."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from content.html import cleaned
from content.merge_fields import (
    CONTENT,
    SUBJECT,
    UNSUBSCRIBE_URL,
    Field,
    Merge,
    address_part,
    header_text,
    html_text,
    plain_text,
    url_part,
    whole_url,
)
from content.places import PLACEHOLDER, PRIVATE, Kind, marked, placeholder, places
from content.text import plain_text_of

HEAD = (
    '<!DOCTYPE html>\n<html><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width"></head><body>\n'
)
TAIL = "\n</body></html>\n"
FOOTER = (
    '\n<p style="color:#666666;font-size:12px;text-align:center"><a href="{}" style="color:#666666">Unsubscribe</a></p>'
)

Escape = Callable[[str], str]


def text_link(value: str) -> str:
    return whole_url(value) or "#"


def html_link(value: str) -> str:
    return html_text(text_link(value))


# What a value goes through in the HTML and in the text made of it. A field anywhere else is left out.
ESCAPES: Final[Mapping[Kind, tuple[Escape, Escape]]] = {
    Kind.TEXT: (html_text, plain_text),
    Kind.VALUE: (html_text, plain_text),
    Kind.WHOLE_URL: (html_link, text_link),
    Kind.URL_PART: (url_part, url_part),
    Kind.ADDRESS_PART: (address_part, address_part),
}


@dataclass(frozen=True)
class RenderedMessage:
    """What one recipient gets: subject of one line, HTML document, plain text."""

    subject: str
    html: str
    text: str


@dataclass(frozen=True)
class Slot:
    """A field with what its value goes through where it stands."""

    field: Field
    escape: Escape


@dataclass(frozen=True)
class Parts:
    """Text with slots: `literals[0] slots[0] literals[1] ... literals[-1]`."""

    literals: tuple[str, ...]
    slots: tuple[Slot, ...]

    def rendered(self, values: Mapping[str, str | None]) -> str:
        pieces: list[str] = []
        for literal, slot in zip(self.literals, self.slots, strict=False):
            pieces += (literal, slot.escape(slot.field.value(values)))
        return "".join((*pieces, self.literals[-1]))


@dataclass(frozen=True)
class CompiledMessage:
    """A message of which only the values of the merge fields are missing. Immutable, safe to share and to pickle."""

    subject: Merge
    html: Parts
    text: Parts

    def render(self, values: Mapping[str, str | None]) -> RenderedMessage:
        """The message for one recipient; `values` by full names (`contact.first_name`), plain text, missing is empty.

        Braces in values stay as they are. `unsubscribe_url` must be http(s), else the link leads nowhere (`#`).
        """
        subject = header_text(self.subject.rendered(values, plain_text)).strip()
        complete = {**values, SUBJECT: subject, CONTENT: None}
        return RenderedMessage(subject, self.html.rendered(complete), self.text.rendered(complete))


def compile_message(*, subject: str, content: str, template: str | None, footer: bool = False) -> CompiledMessage:
    """Cleans, inlines and takes apart a message, and makes its plain text. Never raises, whatever the sources hold.

    Content and template are HTML; the content's own style sheets apply to it alone. A field in a place where a value
    could do harm (see `ContentProblemCode`) is left out. With `footer`, a message without a link to
    `{{unsubscribe_url}}` gets a line with one. The caller keeps the limits: content and template 500,000 characters
    each, and no problem found by `content.problems`, which bounds how often a value is repeated.
    """
    fields: list[Field] = []
    body = cleaned(marked(Merge.of_html(content), fields))
    if template is not None:
        body = cleaned(set_into(template, body, fields))
    if footer and not any(place.kind is Kind.WHOLE_URL for place in places(body, fields)):
        body += FOOTER.format(placeholder(len(fields)))
        fields.append(Field(UNSUBSCRIBE_URL, "", 0))
    return taken_apart(Merge.of_text(subject), body, fields)


def set_into(template: str, body: str, fields: list[Field]) -> str:
    """The template, marked, with the body at the first `{{content}}` in its text, or at its end."""
    source = marked(Merge.of_html(template), fields)
    for place in places(source, fields):
        if place.field.name == CONTENT and place.kind is Kind.TEXT:
            return source[: place.start] + body + source[place.end :]
    return source + body


def taken_apart(subject: Merge, body: str, fields: list[Field]) -> CompiledMessage:
    literals: list[str] = []
    slots: list[Slot] = []
    text_escapes: list[Escape] = []
    end = 0
    for place in places(body, fields):
        if place.kind in ESCAPES and place.field.name != CONTENT:
            html_escape, text_escape = ESCAPES[place.kind]
            literals.append(literal(body[end : place.start]))
            slots.append(Slot(place.field, html_escape))
            text_escapes.append(text_escape)
            end = place.end
    literals.append(literal(body[end:]))
    numbered = "".join(f"{before}{placeholder(index)}" for index, before in enumerate(literals[:-1])) + literals[-1]
    text = text_parts(plain_text_of(numbered, lambda part: with_names(part, slots)) + "\n", slots, text_escapes)
    literals[0] = HEAD + literals[0]
    literals[-1] += TAIL
    return CompiledMessage(subject, Parts(tuple(literals), tuple(slots)), text)


def literal(text: str) -> str:
    """Without the placeholders that are in no place for a field, and without what only looks like one."""
    return PLACEHOLDER.sub("", text).translate(PRIVATE)


def with_names(text: str, slots: list[Slot]) -> str:
    return PLACEHOLDER.sub(lambda match: slots[int(match[1])].field.name, text)


def text_parts(text: str, slots: list[Slot], escapes: list[Escape]) -> Parts:
    pieces = re.split(PLACEHOLDER, text)
    indexes = [int(index) for index in pieces[1::2]]
    return Parts(
        tuple(pieces[::2]),
        tuple(Slot(slots[index].field, escapes[index]) for index in indexes),
    )

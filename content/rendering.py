"""What does each recipient get? The costly part once a message, then substitution only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeVar

from content.html import clean
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
from content.mjml import BrokenMjml, html_of, is_mjml
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
Text = TypeVar("Text", str, bytes)


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

    def inserted(self, values: Mapping[str, str | None]) -> list[str]:
        """What stands in the slots, fit for their places."""
        return [slot.escape(slot.field.value(values)) for slot in self.slots]

    def rendered(self, inserted: Sequence[str]) -> str:
        return "".join(alternating(self.literals, inserted))


def alternating(literals: Sequence[Text], inserted: Sequence[Text]) -> Iterator[Text]:
    """`literals[0] inserted[0] literals[1] ... literals[-1]`."""
    return chain(chain.from_iterable(zip(literals, inserted, strict=False)), literals[-1:])


def with_subject(values: Mapping[str, str | None], subject: str) -> Mapping[str, str | None]:
    """The values of a body: nothing stands for `{{content}}` once the content is set in."""
    return {**values, SUBJECT: subject, CONTENT: None}


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
        subject = self.subject_for(values)
        complete = with_subject(values, subject)
        html, text = (parts.rendered(parts.inserted(complete)) for parts in (self.html, self.text))
        return RenderedMessage(subject, html, text)

    def subject_for(self, values: Mapping[str, str | None]) -> str:
        """The subject for one recipient: one line without control characters."""
        return header_text(self.subject.rendered(values, plain_text)).strip()


def compile_message(*, subject: str, content: str, template: str | None, footer: bool = False) -> CompiledMessage:
    """Cleans, inlines and takes apart a message, and makes its plain text. Never raises, whatever the sources hold.

    Content and template are HTML or MJML; the content's own style sheets apply to it alone, but for those of media. A
    field in a place where a value could do harm (see `ContentProblemCode`) is left out. With `footer` it is a mail:
    without a link to `{{unsubscribe_url}}` it gets a line with one, and what there is for media stands in its head.
    The caller keeps the limits: content and template 500,000 characters each, and no problem found by
    `content.problems`, which bounds how often a value is repeated.
    """
    fields: list[Field] = []
    message = clean(as_html(marked(Merge.of_html(content), fields)))
    media = message.media
    if template is not None:
        message = clean(set_into(template, message.body, fields))
        media = message.media + media
    body = message.body
    if footer and not any(place.kind is Kind.WHOLE_URL for place in places(body, fields)):
        body += FOOTER.format(placeholder(len(fields)))
        fields.append(Field(UNSUBSCRIBE_URL, "", 0))
    return taken_apart(Merge.of_text(subject), head_with(media if footer else ""), body, fields)


def head_with(sheet: str) -> str:
    return HEAD.replace("</head>", f"<style>\n{sheet}</style></head>") if sheet else HEAD


def as_html(source: str) -> str:
    """The HTML of what may be MJML; of MJML that cannot be read, its text is left when it is cleaned."""
    if not is_mjml(source):
        return source
    try:
        return html_of(source)
    except BrokenMjml:
        return source


def set_into(template: str, body: str, fields: list[Field]) -> str:
    """The template, marked, with the body at the first `{{content}}` in its text, or at its end."""
    source = as_html(marked(Merge.of_html(template), fields))
    for place in places(source, fields):
        if place.field.name == CONTENT and place.kind is Kind.TEXT:
            return source[: place.start] + body + source[place.end :]
    return source + body


def taken_apart(subject: Merge, head: str, body: str, fields: list[Field]) -> CompiledMessage:
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
    literals[0] = head + literals[0]
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

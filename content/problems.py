"""What is wrong with a subject, a content or a template, before anything is sent?"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum

from content.merge_fields import CONTENT, CONTROLS, Field, Merge
from content.mjml import BrokenMjml, html_of, is_mjml
from content.places import Kind, Place, marked, places

# With the caller's limit on values this bounds a rendered message.
MOST_FIELDS = 1_000
LONGEST_NAME_SHOWN = 60


class ContentProblemCode(Enum):
    """What a client can switch on."""

    UNKNOWN_MERGE_FIELD = "UNKNOWN_MERGE_FIELD"
    TOO_MANY_MERGE_FIELDS = "TOO_MANY_MERGE_FIELDS"
    MERGE_FIELD_IN_URL = "MERGE_FIELD_IN_URL"
    MERGE_FIELD_IN_STYLE = "MERGE_FIELD_IN_STYLE"
    MERGE_FIELD_IN_TAG = "MERGE_FIELD_IN_TAG"
    CONTENT_MISSING = "CONTENT_MISSING"
    CONTENT_REPEATED = "CONTENT_REPEATED"
    CONTENT_MISPLACED = "CONTENT_MISPLACED"
    CONTROL_CHARACTER = "CONTROL_CHARACTER"
    INVALID_MJML = "INVALID_MJML"


@dataclass(frozen=True)
class ContentProblem:
    """One problem; the message is for the author of the text."""

    code: ContentProblemCode
    message: str


Code = ContentProblemCode
HARMFUL: dict[Kind, tuple[Code, str]] = {
    Kind.SCHEME: (Code.MERGE_FIELD_IN_URL, "cannot decide where an address leads: only its part behind the host"),
    Kind.STYLE: (Code.MERGE_FIELD_IN_STYLE, "cannot be used in styles and scripts"),
    Kind.TAG: (Code.MERGE_FIELD_IN_TAG, "can be used in text and in quoted attribute values only"),
}


def subject_problems(subject: str, known: AbstractSet[str]) -> list[ContentProblem]:
    """Of a subject: plain text, one line. `known` is `known_names(...)`."""
    problems = field_problems(Merge.of_text(subject).fields, known)
    if CONTROLS.search(subject):
        message = "A subject is one line, without control characters."
        problems.append(ContentProblem(Code.CONTROL_CHARACTER, message))
    return problems


def content_problems(content: str, known: AbstractSet[str]) -> list[ContentProblem]:
    """Of a message's content: HTML or MJML. `known` is `known_names(...)`."""
    merge = Merge.of_html(content)
    problems = field_problems(merge.fields, known)
    try:
        found = found_places(merge)
    except BrokenMjml as error:
        return [*problems, ContentProblem(Code.INVALID_MJML, str(error))]
    return [*problems, *too_many_places(merge, found), *harmful_places(found)]


def template_problems(template: str, known: AbstractSet[str]) -> list[ContentProblem]:
    """Of a template: HTML or MJML with one `{{content}}` in its text.

    `known` is `known_names(...)`, with `"subject"` beside it for e-mail; `"content"` is always known here.
    """
    merge = Merge.of_html(template)
    problems = field_problems(merge.fields, {*known, CONTENT})
    try:
        found = found_places(merge)
    except BrokenMjml as error:
        return [*problems, ContentProblem(Code.INVALID_MJML, str(error))]
    contents = [place for place in found if place.field.name == CONTENT]
    others = [place for place in found if place.field.name != CONTENT]
    problems += [*too_many_places(merge, found), *harmful_places(others)]
    if not contents:
        problems.append(ContentProblem(Code.CONTENT_MISSING, "A template holds {{content}}."))
    if len(contents) > 1:
        problems.append(ContentProblem(Code.CONTENT_REPEATED, "A template holds {{content}} once."))
    if any(place.kind is not Kind.TEXT for place in contents):
        message = "{{content}} stands between tags, not in one."
        problems.append(ContentProblem(Code.CONTENT_MISPLACED, message))
    return problems


def found_places(merge: Merge) -> list[Place]:
    """Where the fields are in the HTML; those of MJML may be there several times. Raises `BrokenMjml`."""
    fields: list[Field] = []
    source = marked(merge, fields)
    return list(places(html_of(source) if is_mjml(source) else source, fields))


def too_many_places(merge: Merge, found: list[Place]) -> Iterator[ContentProblem]:
    """MJML can say once what is to stand at each of its elements."""
    if len(merge.fields) <= MOST_FIELDS < len(found):
        message = f"Merge fields stand in {len(found)} places of the message; {MOST_FIELDS} are the most."
        yield ContentProblem(Code.TOO_MANY_MERGE_FIELDS, message)


def field_problems(fields: tuple[Field, ...], known: AbstractSet[str]) -> list[ContentProblem]:
    """One problem for each name that is not known."""
    problems = [
        ContentProblem(Code.UNKNOWN_MERGE_FIELD, f"There is no merge field {shown(name)}.")
        for name in dict.fromkeys(field.name for field in fields)
        if name not in known
    ]
    if len(fields) > MOST_FIELDS:
        message = f"There are {len(fields)} merge fields; {MOST_FIELDS} are the most."
        problems = [*problems[:MOST_FIELDS], ContentProblem(Code.TOO_MANY_MERGE_FIELDS, message)]
    return problems


def harmful_places(found: list[Place]) -> Iterator[ContentProblem]:
    """One problem for each field and kind of place that does not suit it."""
    for name, kind in dict.fromkeys((place.field.name, place.kind) for place in found if place.kind in HARMFUL):
        code, reason = HARMFUL[kind]
        yield ContentProblem(code, f"{shown(name)} {reason}.")


def shown(name: str) -> str:
    return f"{{{{{name if len(name) <= LONGEST_NAME_SHOWN else name[:LONGEST_NAME_SHOWN] + '…'}}}}}"

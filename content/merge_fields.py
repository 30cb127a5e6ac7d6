"""What do `{{name}}` and `{{name|default}}` in a message stand for? Substitution only: no expressions, no loops."""

from __future__ import annotations

import html
import re
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

FIXED_CONTACT_FIELDS = (
    "salutation",
    "first_name",
    "last_name",
    "title",
    "email",
    "mobile_phone_number",
    "landline_phone_number",
    "address",
    "zip_code",
    "city",
    "state_region",
    "country",
    "date_of_birth",
)
USER_FIELDS = ("first_name", "last_name", "email", "phone_number", "job_title")
UNSUBSCRIBE_URL = "unsubscribe_url"
SUBJECT = "subject"
CONTENT = "content"

# No brace can stand inside a field, so that a scan that fails ends at the next brace and never reads a character
# more than twice: time is linear in the source, whatever it holds.
FIELD = re.compile(r"\{\{([^{}\r\n]*)\}\}")
# C0 and C1 (U+0085 is one of them), DEL, and the two line breaks that Unicode adds.
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
WEB_URL = re.compile(r"https?://[^/?#\\\s]", re.IGNORECASE)


@dataclass(frozen=True)
class Field:
    """One use of a field: its name, its plain text default, and where it starts in the source, in characters."""

    name: str
    default: str
    position: int

    def value(self, values: Mapping[str, str | None]) -> str:
        """As plain text: the value, or the default if that is missing or empty, or nothing."""
        return values.get(self.name) or self.default


@dataclass(frozen=True)
class Merge:
    """A source, taken apart once: `literals[0] fields[0] literals[1] ... fields[-1] literals[-1]`."""

    literals: tuple[str, ...]
    fields: tuple[Field, ...]

    @classmethod
    def of_text(cls, source: str) -> Merge:
        """Of plain text, such as a subject: defaults are taken as they stand."""
        return parsed(source, decoded=str)

    @classmethod
    def of_html(cls, source: str) -> Merge:
        """Of HTML: names and defaults are HTML text, decoded here and escaped when put out."""
        return parsed(source, decoded=html.unescape)

    def rendered(self, values: Mapping[str, str | None], escape: Callable[[str], str]) -> str:
        """The source with every field replaced; `escape` makes a plain value fit the place (`plain_text`, ...).

        One pass: braces in a value stay as they are. Length: the source's, and each value's once per use.
        """
        inserted = (escape(field.value(values)) for field in self.fields)
        return "".join(chain.from_iterable(zip(self.literals, chain(inserted, ("",)), strict=True)))


def parsed(source: str, decoded: Callable[[str], str]) -> Merge:
    literals: list[str] = []
    fields: list[Field] = []
    end = 0
    for match in FIELD.finditer(source):
        name, _, default = match[1].partition("|")
        literals.append(source[end : match.start()])
        fields.append(Field(decoded(name).strip(), decoded(default), match.start()))
        end = match.end()
    return Merge((*literals, source[end:]), tuple(fields))


def known_names(custom: Iterable[str] = ()) -> frozenset[str]:
    """The fields of subjects and contents, given the names of the company's own contact fields."""
    return frozenset(
        (
            *(f"contact.{name}" for name in FIXED_CONTACT_FIELDS),
            *(f"contact.custom.{name}" for name in custom),
            "account.name",
            *(f"user.{name}" for name in USER_FIELDS),
            UNSUBSCRIBE_URL,
        )
    )


def plain_text(value: str) -> str:
    """For the text part: as it is."""
    return value


def html_text(value: str) -> str:
    """For HTML text and quoted attribute values."""
    return html.escape(value, quote=True)


def header_text(value: str) -> str:
    """For a header: control characters and all line breaks (CR LF NUL VT FF U+0085 U+2028 U+2029) become one space.

    Half a character, which has no bytes, becomes a question mark.
    """
    return CONTROLS.sub(" ", value).encode("utf-8", errors="replace").decode("utf-8")


def url_part(value: str) -> str:
    """For a link behind its host, in HTML too: percent-encoded (RFC 3986, 2.1), so that it stays one name or value."""
    return urllib.parse.quote(value, safe="", errors="replace")


def address_part(value: str) -> str:
    """For what follows `mailto:` and `tel:`: percent-encoded but for the signs that addresses are made of."""
    return urllib.parse.quote(value, safe="@+", errors="replace")


def whole_url(value: str) -> str:
    """For a whole link, in text: an http(s) address, percent-encoded where it must be; any other is left out."""
    return urllib.parse.quote(value, safe=";/?:@&=+$,#%!*()[]'", errors="replace") if WEB_URL.match(value) else ""

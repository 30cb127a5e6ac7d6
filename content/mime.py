"""What are the bytes of a mail? Written by hand: the standard library's EmailMessage takes some milliseconds each."""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.errors import HeaderParseError
from email.header import Header, decode_header, make_header
from email.parser import BytesHeaderParser
from email.utils import format_datetime

from content.addresses import ascii_address
from content.merge_fields import CONTROLS, header_text
from content.rendering import RenderedMessage

LINE = 76  # what RFC 5322, 2.1.1 and RFC 2047, 2 ask for; 998 is the most that servers take
LONGEST_UNFOLDED = 900
MESSAGE_ID = re.compile(r"<[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,128}@[A-Za-z0-9.-]{1,254}>")
URL = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+;=%-]+")  # RFC 3986 without the comma (RFC 2369, 2)
HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,39}")
PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
NEWLINE = re.compile(r"\r\n|\r|\n")
# A space at the end of a line is written with three characters, for which binascii does not look for room.
SPACES_AT_ENDS = (b"=20\n", b"=09\n")
BEYOND = re.compile(rb"^(.{74,})(=(?:20|09))$", re.MULTILINE)
FOLD = re.compile(r"\r?\n(?=[ \t])")
# Headers that this module writes, or that would add recipients or change what the body means.
RESERVED = frozenset(
    ("from", "to", "subject", "date", "message-id", "mime-version", "list-unsubscribe", "list-unsubscribe-post")
) | {"cc", "bcc", "sender", "return-path", "received"}


@dataclass(frozen=True)
class Mailbox:
    """An address, with the name that people see; the name may be empty."""

    address: str
    name: str = ""


def header_problem(text: str) -> str | None:
    """Why the text cannot be a header's value, such as a subject or a name, or None."""
    if CONTROLS.search(text):
        return "It is one line, without control characters."
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "It holds half a character."
    return None


def message_bytes(
    *,
    sender: Mailbox,
    to: Mailbox,
    rendered: RenderedMessage,
    message_id: str,
    date: datetime,
    unsubscribe_url: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The mail (RFC 5322, 2045, 2047) with CRLF lines of at most 998 octets; equal arguments give equal bytes.

    `message_id` is `<left@right>` with the brackets, `date` is aware; an `unsubscribe_url` of https must answer
    one-click POST (RFC 8058); `headers` are more of them, unstructured. ValueError for whatever cannot be a header.
    """
    parts = [part("plain", rendered.text), part("html", rendered.html)]
    lines = header_lines(
        sender=mailbox(sender),
        to=to,
        subject=rendered.subject,
        message_id=message_id,
        date=date,
        unsubscribe_url=unsubscribe_url,
        headers=headers or {},
    )
    return put_together(lines, boundary_of(message_id, *parts), parts)


def header_lines(
    *,
    sender: str,
    to: Mailbox,
    subject: str,
    message_id: str,
    date: datetime,
    unsubscribe_url: str | None,
    headers: Mapping[str, str],
) -> list[str]:
    """The headers but for those of the body, each of one line or folded; `sender` as `mailbox` writes it."""
    return [
        f"From: {sender}",
        f"To: {mailbox(to)}",
        f"Subject: {unstructured('Subject', subject)}",
        f"Date: {in_mail_format(date)}",
        f"Message-ID: {matching(MESSAGE_ID, message_id, 'message id')}",
        *unsubscribe_lines(unsubscribe_url),
        *(f"{name}: {unstructured(name, value)}" for name, value in allowed(headers)),
    ]


def put_together(lines: Iterable[str], boundary: str, parts: Iterable[bytes]) -> bytes:
    """The mail of these headers, with parts (headers and body, ending in CRLF) that say the same in different ways."""
    body = ("MIME-Version: 1.0", f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"', "", "")
    head = "\r\n".join((*lines, *body)).encode("ascii")
    delimiter = f"--{boundary}\r\n".encode()
    return b"".join((head, *(delimiter + each for each in parts), delimiter[:-2], b"--\r\n"))


def headers_of(message: bytes) -> list[tuple[str, str]]:
    """The headers of a mail in their order, decoded (RFC 2047) and unfolded for people to read."""
    parsed = BytesHeaderParser(policy=policy.compat32).parsebytes(message)
    return [(name, decoded(FOLD.sub("", str(value)))) for name, value in parsed.items()]


def decoded(value: str) -> str:
    try:
        return header_text(str(make_header(decode_header(value))))
    except (HeaderParseError, LookupError, UnicodeError):
        return header_text(value)


def mailbox(box: Mailbox) -> str:
    """`name <address>`, or the address alone."""
    address = ascii_address(box.address)
    if not box.name:
        return address
    name = checked("name", box.name)
    if needs_encoding(name) or len(name) > LINE // 2:
        name = encoded(name)
    elif not PLAIN_NAME.fullmatch(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    short = len(name) + len(address) < LINE - 10
    return f"{name} <{address}>" if short else f"{name}\r\n <{address}>"


def unstructured(name: str, value: str) -> str:
    value = checked(name, value)
    if needs_encoding(value) or len(name) + 2 + len(value) > LINE:
        return encoded(value, first_line=len(name) + 2)
    return value


def checked(what: str, value: str) -> str:
    if problem := header_problem(value):
        raise ValueError(f"{what}: {problem}")
    return value


def needs_encoding(value: str) -> bool:
    """Whether it is not plain ASCII, or would be read as an encoded word or lose spaces at its ends."""
    return not value.isascii() or "=?" in value or value != value.strip()


def encoded(value: str, first_line: int = 8) -> str:
    """Encoded words (RFC 2047) of UTF-8, folded."""
    folded = Header(value, "utf-8", maxlinelen=LINE - 1, header_name="x" * (first_line - 2)).encode(linesep="\r\n")
    return str(folded)


def in_mail_format(date: datetime) -> str:
    if date.utcoffset() is None:
        raise ValueError("date: it has no time zone.")
    return format_datetime(date)


def matching(pattern: re.Pattern[str], value: str, what: str) -> str:
    if not pattern.fullmatch(value) or len(value) > LONGEST_UNFOLDED:
        raise ValueError(f"{what}: it is not written as one.")
    return value


def unsubscribe_lines(url: str | None) -> Iterator[str]:
    if url is not None:
        yield f"List-Unsubscribe: <{matching(URL, url, 'unsubscribe URL')}>"
        if url.startswith("https:"):
            yield "List-Unsubscribe-Post: List-Unsubscribe=One-Click"


def allowed(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    seen = set(RESERVED)
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name) or name.lower() in seen or name.lower().startswith(("content-", "resent-")):
            raise ValueError("headers: a name is not allowed, or is there twice.")
        seen.add(name.lower())
        yield name, value


def part(subtype: str, content: str) -> bytes:
    """A text part in quoted-printable, which has no line beyond 76 characters."""
    return part_head(subtype) + quoted_printable(with_newlines(content)) + b"\r\n"


def part_head(subtype: str) -> bytes:
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
    return head.encode()


def with_newlines(text: str) -> str:
    """The text with each of its line breaks (CR LF, CR, LF) as one LF."""
    return NEWLINE.sub("\n", text) if "\r" in text else text


def quoted_printable(text: str) -> bytes:
    """RFC 2045, 6.7: lines of at most 76 characters that end in CRLF. The text has no CR; half a character is `?`."""
    encoded = binascii.b2a_qp(text.encode("utf-8", errors="replace"), istext=True)
    if any(space in encoded for space in SPACES_AT_ENDS):
        encoded = BEYOND.sub(rb"\1=\n\2", encoded)
    return encoded.replace(b"\n", b"\r\n")


def boundary_of(*contents: str | bytes) -> str:
    """Derived from the mail; `=_` cannot stand in quoted-printable, hence in no part."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content.encode() if isinstance(content, str) else content)
    return f"=_{digest.hexdigest()[:40]}"

"""How do the mails of a campaign become bytes, thousands a second? What is equal in all of them is encoded once.

Quoted-printable may break a line anywhere (RFC 2045, 6.7, rule 5), so that a break on both sides of each value makes
the encoding of what stands between independent of the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.headerregistry import AddressHeader, DateHeader
from email.message import EmailMessage
from uuid import UUID

from content.addresses import ascii_address
from content.merge_fields import header_text
from content.mime import (
    Mailbox,
    boundary_of,
    header_lines,
    mailbox,
    part_head,
    put_together,
    quoted_printable,
    with_newlines,
)
from content.rendering import CompiledMessage, Parts, alternating, with_subject

# Asks programs that answer by themselves (absence notes) not to (RFC 3834, 2). `Auto-Submitted` would be wrong: what
# people write and send is not of an automatic process (RFC 3834, 5).
CAMPAIGN_HEADERS: Mapping[str, str] = {"Precedence": "bulk"}
SOFT_BREAK = b"=\r\n"
LONGEST_LINE = 998  # octets without the CRLF: RFC 5322, 2.1.1


class BrokenMail(Exception):
    """A mail does not say what it should. `where`: the header, or the type of the part, that does not."""

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(f"{where} does not come back as it was meant.")


@dataclass(frozen=True)
class Built:
    """One mail: its bytes as they are handed over, and what they say."""

    message: bytes
    subject: str
    html: str
    text: str


class PartTemplate:
    """A text part of which only the values are missing."""

    def __init__(self, subtype: str, parts: Parts) -> None:
        self.parts = parts
        *others, last = map(with_newlines, parts.literals)
        encoded = (*map(before_a_break, others), quoted_printable(last))
        self.literals = (part_head(subtype) + encoded[0], *encoded[1:])

    def filled(self, values: Mapping[str, str | None]) -> tuple[str, bytes]:
        """The part's text, and the part: headers and body in lines of at most 76 characters."""
        inserted = [with_newlines(text) for text in self.parts.inserted(values)]
        encoded = [before_a_break(text) for text in inserted]
        return self.parts.rendered(inserted), SOFT_BREAK.join(alternating(self.literals, encoded)) + b"\r\n"


def before_a_break(text: str) -> bytes:
    """In quoted-printable, with room for a soft break on its last line: as if one more letter followed."""
    return quoted_printable(text + "x")[:-1]


class MailTemplate:
    """A message and its sender, made once a campaign; used by one thread or many, it never changes."""

    def __init__(self, compiled: CompiledMessage, *, sender: Mailbox) -> None:
        """ValueError when the sender's address or name cannot stand in a header."""
        self.compiled = compiled
        self.sender = mailbox(sender)
        self.text = PartTemplate("plain", compiled.text)
        self.html = PartTemplate("html", compiled.html)

    def bytes_for(
        self,
        values: Mapping[str, str | None],
        *,
        to: Mailbox,
        message_id: str,
        date: datetime,
        unsubscribe_url: str | None,
        headers: Mapping[str, str] | None = None,
    ) -> Built:
        """The mail for one contact; equal arguments give equal bytes, ASCII, in CRLF lines of at most 998 octets.

        `values`: see `CompiledMessage.render`; its `unsubscribe_url` is the link in the body. The parameter of that
        name is the one of the header, which must answer one-click POST (RFC 8058) when it is https. `message_id` is
        `<left@right>` with the brackets, `date` is aware; `headers` are more of them, unstructured. Control characters
        in the receiver's name become spaces. ValueError for whatever else cannot be a header, such as an address.
        """
        subject = self.compiled.subject_for(values)
        complete = with_subject(values, subject)
        text, text_part = self.text.filled(complete)
        html, html_part = self.html.filled(complete)
        lines = header_lines(
            sender=self.sender,
            to=as_shown(to),
            subject=subject,
            message_id=message_id,
            date=date,
            unsubscribe_url=unsubscribe_url,
            headers={**CAMPAIGN_HEADERS, **(headers or {})},
        )
        message = put_together(lines, boundary_of(message_id), (text_part, html_part))
        return Built(message, subject, html, text)


def campaign_message_id(recipient_id: int, campaign_id: UUID, domain: str) -> str:
    """The Message-ID of a recipient's mail (RFC 5322, 3.6.4): the same at each attempt, so that a second one is known.

    `domain`: the sender's, in ASCII.
    """
    return f"<{recipient_id}.{campaign_id.hex}@{domain}>"


def as_shown(box: Mailbox) -> Mailbox:
    return Mailbox(box.address, header_text(box.name).strip())


def checked(
    built: Built,
    *,
    sender: Mailbox,
    to: Mailbox,
    message_id: str,
    date: datetime,
    unsubscribe_url: str | None,
    headers: Mapping[str, str] | None = None,
) -> Built:
    """The same mail, if the standard library's parser reads what was meant; else raises `BrokenMail`.

    The arguments are those that it was built with. Takes milliseconds: for the first mail of a campaign.
    """
    if any(len(line) > LONGEST_LINE or b"\n" in line or b"\r" in line for line in built.message.split(b"\r\n")):
        raise BrokenMail("a line")
    parsed = message_from_bytes(built.message, policy=policy.default)
    one_click = "List-Unsubscribe=One-Click" if (unsubscribe_url or "").startswith("https:") else None
    meant = {
        "From": shown_boxes(sender),
        "To": shown_boxes(to),
        "Subject": unspaced(built.subject),
        "Date": date.replace(microsecond=0),
        "Message-ID": message_id,
        "List-Unsubscribe": f"<{unsubscribe_url}>" if unsubscribe_url is not None else None,
        "List-Unsubscribe-Post": one_click,
        **{name: unspaced(value) for name, value in {**CAMPAIGN_HEADERS, **(headers or {})}.items()},
    }
    for name in parsed.keys() - meant.keys() - {"MIME-Version", "Content-Type"}:
        raise BrokenMail(name)
    for name, value in meant.items():
        if [read(header) for header in parsed.get_all(name, [])] != ([] if value is None else [value]):
            raise BrokenMail(name)
    parts = [part for part in parsed.iter_parts() if isinstance(part, EmailMessage)]
    if [part.get_content_type() for part in parts] != ["text/plain", "text/html"]:
        raise BrokenMail("Content-Type")
    for part, text in zip(parts, (built.text, built.html), strict=True):
        content: str = part.get_content()
        if with_newlines(content) != text.encode("utf-8", errors="replace").decode("utf-8"):
            raise BrokenMail(part.get_content_type())
    return built


def shown_boxes(box: Mailbox) -> list[tuple[str, str]]:
    return [(unspaced(as_shown(box).name), ascii_address(box.address))]


def read(header: object) -> str | datetime | list[tuple[str, str]] | None:
    match header:
        case AddressHeader():
            return [(unspaced(box.display_name), box.addr_spec) for box in header.addresses]
        case DateHeader():
            return header.datetime
    return unspaced(str(header))


def unspaced(text: str) -> str:
    """Without its spaces: headers do not keep how many there are, and the parser sees one between encoded words."""
    return "".join(text.split())

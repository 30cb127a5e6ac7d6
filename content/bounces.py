"""What does a mail that came to a return path say of a message: delivered, delayed, bounced, complained of, or nothing?

Delivery reports (RFC 3464), feedback reports (RFC 5965), and bounces of servers that write neither. Anyone may send
such a mail: only its first 256 kB are looked at, in which a report stands before what it returns; it is taken apart to
a bounded depth, and headers are read as they stand. The library's grammar of addresses, and its walk through parts in
parts, fail or take minutes on mails that are made for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import policy
from email.message import Message
from email.parser import BytesHeaderParser
from enum import StrEnum

LOOKED_AT = 256 * 1024
MOST_HEADER_BYTES = 64 * 1024
LONGEST_VALUE = 2_000
LONGEST_DIAGNOSTIC = 400  # leaves room for why an address is not suppressed in what is kept of a reply
DEEPEST = 3
MOST_PARTS = 20

BLANK_LINE = re.compile(rb"\r?\n[ \t]*\r?\n")
BOUNDARY = re.compile(r'\bboundary[ \t]*=[ \t]*(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
ADDRESS = re.compile(r"[^\s<>,;:@\"()]{1,64}@[^\s<>,;:@\"()]{1,255}")
STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
SMTP = re.compile(r"\s*smtp\s*;\s*", re.IGNORECASE)
STATUS_REPORTS = ("message/delivery-status", "message/global-delivery-status")
FEEDBACK_REPORT = "message/feedback-report"
RECEIPT = "message/disposition-notification"  # RFC 8098: somebody has opened it, or not
ORIGINALS = ("message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers")
# What servers that deliver a mail note of the address that it came for.
ENVELOPE_HEADERS = ("Delivered-To", "X-Original-To", "Envelope-To", "To")
AUTOMATIC = ("X-Autoreply", "X-Autorespond", "X-Auto-Reply", "X-Auto-Response-Suppress")
# Statuses (RFC 3463) of a refusal that is not about the address, without their class.
NOT_THE_ADDRESS = {
    "2.2": "the mailbox is full",
    "2.3": "the message is too long for the mailbox",
    "3.4": "the message is too big for the server",
    "4.7": "the time for its delivery ran out",
    "6": "it is the content that the server does not take",
    "7": "it is a rule of the server that forbids it",
}
MAY_PASS = "the server gave up on something that may pass"  # noqa: S105 - no password
NOT_SAID = "the report does not say that it is for good"


class Fate(StrEnum):
    """What became of a message, the worst last."""

    DELIVERED = "DELIVERED"
    DEFERRED = "DEFERRED"
    BOUNCED = "BOUNCED"
    COMPLAINED = "COMPLAINED"


SEVERITY = list(Fate)
FATES = {"delivered": Fate.DELIVERED, "relayed": Fate.DELIVERED, "delayed": Fate.DEFERRED, "failed": Fate.BOUNCED}
FATES_BY_CLASS = {"2": Fate.DELIVERED, "4": Fate.DEFERRED, "5": Fate.BOUNCED}


@dataclass(frozen=True)
class News:
    """What a mail says of a message; `permanent`: nothing sent to the address will ever arrive."""

    fate: Fate
    permanent: bool
    reply: str = field(repr=False)


@dataclass(frozen=True)
class ReturnedMail:
    """What a mail says (None: nothing of a message), and the addresses that may be the return path, in their order."""

    news: News | None
    addresses: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class Entity:
    """Headers and what follows them: a mail, or a part of one."""

    headers: Message
    body: bytes = field(repr=False)

    @property
    def type(self) -> str:
        return (value(self.headers, "Content-Type") or "text/plain").partition(";")[0].strip().lower()


def read_returned(mail: bytes) -> ReturnedMail:
    """Of the bytes of a mail, as a server hands it over; whatever they are, something comes of them."""
    whole = entity(without_envelope_line(mail[:LOOKED_AT]))
    parts = list(leaves(whole))
    feedback = next((fields(part.body) for part in parts if part.type == FEEDBACK_REPORT), [])
    return ReturnedMail(news_of(whole, parts, feedback), tuple(addresses_of(whole, parts, feedback)))


def news_of(whole: Entity, parts: list[Entity], feedback: list[Message]) -> News | None:
    types = {part.type for part in parts}
    if FEEDBACK_REPORT in types:
        kinds = {(value(each, "Feedback-Type") or "").lower() for each in feedback}
        return News(Fate.COMPLAINED, True, "The recipient reported it as unwanted.") if "abuse" in kinds else None
    if types.intersection(STATUS_REPORTS):
        blocks = (block for part in parts if part.type in STATUS_REPORTS for block in fields(part.body))
        return worst([news for block in blocks if (news := news_of_block(block)) is not None])
    if RECEIPT in types or is_automatic(whole.headers) or not has_null_sender(whole.headers):
        return None
    subject = value(whole.headers, "Subject") or "no subject"
    return News(Fate.BOUNCED, False, explained(f"Returned without a report: {subject}", NOT_SAID))


def news_of_block(block: Message) -> News | None:
    """What the fields about one recipient (RFC 3464, 2.3) say; None for those about the message as a whole."""
    action = (value(block, "Action") or "").partition(" ")[0].lower()
    diagnostic = SMTP.sub("", value(block, "Diagnostic-Code") or "", count=1)
    status = status_of(value(block, "Status") or "", diagnostic)
    fate = FATES.get(action) if action else FATES_BY_CLASS.get(status[:1])
    reply = diagnostic or f"{action} {status}".strip()
    if fate is None or (fate is Fate.DELIVERED and status[:1] not in ("", "2")):
        return None
    if fate is not Fate.BOUNCED:
        return News(fate, False, reply)
    reason = why_not_permanent(status)
    return News(fate, True, reply) if reason is None else News(fate, False, explained(reply, reason))


def status_of(status: str, diagnostic: str) -> str:
    """`class.subject.detail`, or "" if it is not said; what the other server said in particular, if it is not."""
    found = STATUS.search(status)
    if found is None or found.group().endswith(".0.0"):
        found = STATUS.search(diagnostic) or found
    return found.group() if found else ""


def why_not_permanent(status: str) -> str | None:
    """Why an address may be written to again although a message to it failed, or None."""
    if not status.startswith("5."):
        return MAY_PASS if status.startswith("4.") else NOT_SAID
    cause = status[2:]
    return NOT_THE_ADDRESS.get(cause) or NOT_THE_ADDRESS.get(cause.partition(".")[0])


def explained(reply: str, reason: str) -> str:
    return f"{reply[:LONGEST_DIAGNOSTIC]} (Not suppressed: {reason}.)"


def worst(found: list[News]) -> News | None:
    """Several recipients are those that a server made of one; the address is good if it is for one of them."""
    if not found:
        return None
    chosen = max(found, key=lambda news: SEVERITY.index(news.fate))
    return News(chosen.fate, all(news.permanent for news in found), chosen.reply)


def is_automatic(headers: Message) -> bool:
    """Whether a program answers for somebody who is away or the like (RFC 3834)."""
    submitted = (value(headers, "Auto-Submitted") or "no").partition(";")[0].strip().lower()
    precedence = (value(headers, "Precedence") or "").lower()
    return submitted != "no" or precedence == "auto_reply" or any(name in headers for name in AUTOMATIC)


def has_null_sender(headers: Message) -> bool:
    """Whether nobody waits for an answer (RFC 5321, 4.5.5), which only reports say; by the From if it was not noted."""
    return_path = value(headers, "Return-Path")
    if return_path is not None:
        return return_path.replace(" ", "") == "<>"
    sender = ADDRESS.search(value(headers, "From") or "")
    return sender is not None and sender.group().lower().startswith(("mailer-daemon@", "postmaster@"))


def addresses_of(whole: Entity, parts: list[Entity], feedback: list[Message]) -> Iterator[str]:
    """What it came for; and, where that is an address for all reports, what the message was sent from."""
    originals = (entity(part.body).headers for part in parts if part.type in ORIGINALS)
    places = [(whole.headers, name) for name in ENVELOPE_HEADERS]
    places += [(block, "Original-Mail-From") for block in feedback]
    places += [(headers, "Return-Path") for headers in originals]
    for headers, name in places:
        for written in values(headers, name):
            yield from ADDRESS.findall(written)


def leaves(whole: Entity, depth: int = 0) -> Iterator[Entity]:
    """The parts that have no parts."""
    boundary = BOUNDARY.search(value(whole.headers, "Content-Type") or "")
    if not whole.type.startswith("multipart/") or boundary is None or depth == DEEPEST:
        yield whole
        return
    delimiter = re.escape((boundary[1] or boundary[2]).rstrip().encode("ascii", errors="replace"))
    # What stands before the first delimiter is no part.
    pieces = re.split(rb"(?m)^--" + delimiter + rb"(?:--)?[ \t]*\r?$", whole.body, maxsplit=MOST_PARTS)[1:]
    for piece in pieces:
        yield from leaves(entity(piece.removeprefix(b"\r").removeprefix(b"\n")), depth + 1)


def entity(source: bytes) -> Entity:
    if source.startswith((b"\n", b"\r\n")):
        return Entity(parsed(b""), source)
    blank = BLANK_LINE.search(source)
    head, body = (source[: blank.start()], source[blank.end() :]) if blank else (source, b"")
    return Entity(parsed(head), body)


def fields(source: bytes) -> list[Message]:
    """The groups of fields that a report consists of."""
    return [parsed(block) for block in BLANK_LINE.split(source.lstrip(), maxsplit=MOST_PARTS) if block]


def parsed(head: bytes) -> Message:
    return BytesHeaderParser(policy=policy.compat32).parsebytes(head[:MOST_HEADER_BYTES])


def value(headers: Message, name: str) -> str | None:
    """The first header of the name."""
    return next(values(headers, name), None)


def values(headers: Message, name: str) -> Iterator[str]:
    """The headers of the name, each in one line; `raw_items`, as the library would decode what it finds in them."""
    for key, text in headers.raw_items():
        if key.lower() == name.lower():
            decoded = str(text)[:LONGEST_VALUE].encode(errors="surrogateescape").decode(errors="replace")
            yield " ".join(decoded.split())


def without_envelope_line(mail: bytes) -> bytes:
    """Some servers put the line before a mail that begins it in a mailbox file."""
    return mail.partition(b"\n")[2] if mail.startswith(b"From ") else mail

"""How many mails of a campaign can one core make? Rendered, encoded and put together, one after the other.

Run by hand (`python -m benchmarks.rendering`): nothing is sent and nothing is stored. Two messages with six merge
fields each, a short one and a long one. Absolute figures belong to the machine that is printed with them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypedDict
from uuid import UUID

from rich.console import Console
from rich.table import Table

from content.mail_template import CAMPAIGN_HEADERS, MailTemplate, campaign_message_id, checked
from content.mime import Mailbox, header_lines, mailbox, message_bytes
from content.rendering import CompiledMessage, compile_message

# Characters of HTML, with the head and the line to unsubscribe that every message has.
SIZES = (3_600, 30_000)
FIELDS = ("contact.first_name", "contact.last_name", "contact.city", "account.name", "user.first_name")
PARAGRAPH = '<p style="color:#333333">Det er længe siden, og der er meget nyt.{} Kom forbi og se det hele.</p>\n'
SENDER = Mailbox("noreply@acme.example", "Bilhuset A/S")
CAMPAIGN = UUID(int=1)
DATE = datetime(2026, 11, 21, 12, tzinfo=UTC)
ROUNDS = 5

Contact = tuple[int, Mapping[str, str | None]]


class OwnHeaders(TypedDict):
    """What the headers of a contact's mail differ in."""

    to: Mailbox
    message_id: str
    date: datetime
    unsubscribe_url: str


def headers_for(number: int) -> OwnHeaders:
    return {
        "to": Mailbox(f"person.{number}@contact.example", f"Jørgen {number} O'Brien"),
        "message_id": campaign_message_id(number, CAMPAIGN, "acme.example"),
        "date": DATE,
        "unsubscribe_url": f"https://gateway.example/u/{number}",
    }


def content_of(length: int) -> str:
    """HTML that is about so long when it is rendered, with five fields in its text."""
    places = itertools.chain((f" {{{{{name}}}}}" for name in FIELDS), itertools.repeat(""))
    paragraphs = [PARAGRAPH.format(place) for place, _ in zip(places, range(length // len(PARAGRAPH)), strict=False)]
    return "".join(paragraphs)


def contacts(count: int) -> list[Contact]:
    return [
        (
            number,
            {
                "contact.first_name": f"Jørgen {number}",
                "contact.last_name": "O'Brien",
                "contact.city": "Aarhus",
                "account.name": "Møller & Søn",
                "user.first_name": "Ann",
                "unsubscribe_url": f"https://gateway.example/u/{number}",
            },
        )
        for number in range(count)
    ]


def stages(compiled: CompiledMessage) -> dict[str, Callable[[Contact], object]]:
    """What is measured: all of it, then its stages, then the way without a template."""
    template = MailTemplate(compiled, sender=SENDER)
    sender = mailbox(SENDER)

    def built(contact: Contact) -> object:
        number, values = contact
        return template.bytes_for(values, **headers_for(number))

    def head(contact: Contact) -> object:
        number, values = contact
        subject = compiled.subject_for(values)
        return header_lines(sender=sender, subject=subject, headers=CAMPAIGN_HEADERS, **headers_for(number))

    def alone(contact: Contact) -> object:
        number, values = contact
        return message_bytes(sender=SENDER, rendered=compiled.render(values), **headers_for(number))

    return {
        "all: MailTemplate.bytes_for": built,
        "of it the headers": head,
        "of it both parts": lambda contact: (template.text.filled(contact[1]), template.html.filled(contact[1])),
        "each by itself: render, message_bytes": alone,
    }


def measure(compiled: CompiledMessage, given: list[Contact]) -> dict[str, list[float]]:
    """For each stage the microseconds a contact, round by round, in turns."""
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, work in stages(compiled).items():
            started = time.perf_counter()
            for contact in given:
                work(contact)
            found.setdefault(name, []).append((time.perf_counter() - started) / len(given) * 1e6)
    return found


def show(length: int, size: int, found: dict[str, list[float]]) -> Table:
    title = f"{length:,} characters of HTML, {size:,} octets a mail"
    table = Table("stage", "µs a mail (median)", "share", "mails a second", title=title)
    whole = statistics.median(next(iter(found.values())))
    for name, times in found.items():
        each = statistics.median(times)
        table.add_row(name, f"{each:.0f}", f"{each / whole:.0%}", f"{1e6 / each:,.0f}")
    return table


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--contacts", type=int, default=5_000)
    given = contacts(arguments.parse_args().contacts)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, of which one works, Python {platform.python_version()}"
    console = Console()
    console.print(f"{datetime.now(UTC):%Y-%m-%d} on {machine}; {len(given):,} contacts, {ROUNDS} rounds")
    for length in SIZES:
        content = content_of(length)
        compiled = compile_message(subject="Hej {{contact.first_name}}", content=content, template=None, footer=True)
        first = MailTemplate(compiled, sender=SENDER).bytes_for(given[0][1], **headers_for(0))
        checked(first, sender=SENDER, **headers_for(0))
        console.print(show(len(first.html), len(first.message), measure(compiled, given)))


if __name__ == "__main__":
    main()

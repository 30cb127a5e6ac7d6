"""Is a campaign by e-mail carried out: to everybody once, with each answer of the mail server written down?"""

from __future__ import annotations

import html
import math
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import anyio
import pytest

from jobs.delivery.campaigns import TOO_LATE
from jobs.pacing import Pacer
from jobs.transport import FixedTransport, Outcome
from resolvers.global_ids import encode
from tests.client import Gateway
from tests.conftest import World
from tests.mail_server import ACCEPTED, MailServer, Received, mail_server
from tests.received_mails import parsed, part_of
from tests.sending import EVERYBODY, Sending, at_work, sending_of

pytestmark = pytest.mark.anyio

WRITTEN = (
    "SELECT r.id, r.address, r.status, r.attempt, r.sent_at, m.subject, m.content FROM recipients r"
    " LEFT JOIN campaign_messages m ON m.id = r.id WHERE r.campaign_id = :id ORDER BY r.id"
)
RENAME = (
    "UPDATE contacts SET first_name = :first, last_name = :last WHERE email = 'person' || :n || '@customer.example'"
)
OLDER = "UPDATE contacts SET created_at = now() - interval '1 hour' WHERE email LIKE :like"
HEADERS = {
    *("From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "Precedence"),
    *("MIME-Version", "Content-Type"),
}
STATISTICS = """
query ($id: ID!) { campaign(id: $id) {
  status totalSent sentAt
  delivery { sender recipients excluded { reason count } problem { code } endedAt }
  statistics { total queued sending sent delivered deferred bounced failed unsubscribed unknown canceled }
} }
"""
PAYLOADS = {
    "headers": "Eve\r\nBcc: victim@evil.example\r\nX-Evil: 1\r\n\r\n<b>body</b>",
    "bare breaks": "Eve\nCc: a@evil.example\rBcc: b@evil.example\x0bX: 1\x85Y: 1\u2028Z: 1",
    "end of the message": "Eve\r\n.\r\nQUIT\r\nMAIL FROM:<a@evil.example>\r\n.",
    "other languages": '{{7*7}} ${7*7} <%= 7*7 %> #{7*7} {% for i in range(9) %} #read("/etc/passwd") @{7*7}',
    "our language": "{{contact.email}} {{content}} {{unsubscribe_url}} {{subject}} {{contact.first_name|x}}",
    "HTML": "</p><script>alert(1)</script><img src=file:///etc/passwd onerror=alert(1)>&lt;&amp;",
    "encoded words": "=?utf-8?q?=0d=0aBcc:_x=40evil.example?= =?utf-8?b?DQpCY2M6?=",
    "an address": '"x" <victim@evil.example>, other@evil.example; (comment) \\',
    "other scripts": "Żółć 李 \U0001f9d1\u200d\U0001f680 \u202egnol\u202c é",
    "quoted-printable": "=3D =0D=0A=\r\n soft =",
}
LONG = "A" * 100_000


@pytest.fixture
async def sending(world: World) -> AsyncIterator[Sending]:
    async with sending_of(world.url, world.acme) as found:
        yield found


async def sent(sending: Sending, server: MailServer, **values: object) -> Any:
    """The row of a campaign that was carried out by one worker over one connection."""
    async with at_work(sending.url, server.url, connections=1):
        with anyio.fail_after(30):
            return await sending.end_of(await sending.send(**values))


def printed(text: str) -> str:
    """What is left of a text in a header, whatever becomes of its spaces."""
    return "".join(each for each in text if each.isprintable() and not each.isspace())


def with_newlines(text: str) -> str:
    return re.sub(r"\r\n|\r", "\n", text)


def by_recipient(server: MailServer) -> dict[str, Received]:
    found = {received.recipient: received for received in server.received}
    assert len(found) == len(server.received)
    return found


async def test_everybody_gets_their_own_mail_once(sending: Sending) -> None:
    """Each recipient gets one mail, with their own name, and everything of it is written down."""
    await sending.add_contacts(250)
    async with mail_server() as server, at_work(sending.url, server.url):
        with anyio.fail_after(30):
            row = await sending.end_of(await sending.send())
    assert (row.status, row.problem_code, row.total_sent, row.recipients) == ("COMPLETED", None, 250, 250)
    assert row.sent_at is not None
    assert Counter(each.recipient for each in server.received) == Counter(
        f"person{n}@customer.example" for n in range(1, 251)
    )
    assert await sending.recipients(row.id) == {"SENT": 250}
    assert await sending.reports(row.id) == {("SENT", ACCEPTED): 250}
    for received in server.received:
        number = received.recipient.partition("@")[0].removeprefix("person")
        assert parsed(received.message)["Subject"] == f"Hello First {number}"
        assert f"Dear First {number} Last {number}" in part_of(received.message, "html")


async def test_what_a_mail_says(sending: Sending) -> None:
    """From, To, the links to unsubscribe, the Message-ID and the envelope are this recipient's, and what is kept of
    the mail is what the server got.
    """
    await sending.add_contacts(1)
    await sending.change(RENAME, n="1", first="Zoë", last="Byron, née O'Neil")
    before = datetime.now(UTC).replace(microsecond=0)
    async with mail_server() as server:
        row = await sent(sending, server)
    (received,), (written,) = server.received, await sending.rows(WRITTEN, id=row.id)
    mail = parsed(received.message)
    link = f"https://gateway.example/u/{sending.company_id}-{written.id}"
    assert mail["From"] == "news@acme.campaigns.example"
    (to,) = mail["To"].addresses
    assert (to.display_name, to.addr_spec) == ("Zoë Byron, née O'Neil", "person1@customer.example")
    assert (received.sender, received.recipient) == (
        f"bounce-{sending.company_id}-{written.id}@acme.campaigns.example",
        "person1@customer.example",
    )
    assert mail["Message-ID"] == f"<{written.id}.{row.id.hex}@acme.campaigns.example>"
    assert (mail["List-Unsubscribe"], mail["List-Unsubscribe-Post"]) == (f"<{link}>", "List-Unsubscribe=One-Click")
    assert before <= mail["Date"].datetime <= datetime.now(UTC)
    assert set(mail.keys()) == HEADERS
    assert mail["Subject"] == written.subject == "Hello Zoë"
    assert part_of(received.message, "html") == with_newlines(written.content)
    assert f'<a href="{link}"' in written.content
    text = part_of(received.message, "plain")
    assert "Dear Zoë Byron, née O'Neil" in text
    assert link in text
    assert (written.status, written.attempt) == ("SENT", 1)
    assert written.sent_at is not None


async def test_own_unsubscribe_page(sending: Sending) -> None:
    """A company's own page takes the place of ours in the text; the header, and its one click, stay ours. A gateway
    without https promises no click.
    """
    await sending.add_contacts(1)
    await sending.change(
        "UPDATE campaign_settings SET consent_unsubscribe_url = 'https://acme.example/bye?a=1&b=2'"
        " WHERE company_id = :id",
        id=sending.company_id,
    )
    enable = "UPDATE campaign_settings SET consent_enabled = :enabled WHERE company_id = :id"
    async with mail_server() as server:
        for enabled in (True, False):
            await sending.change(enable, enabled=enabled, id=sending.company_id)
            async with at_work(sending.url, server.url, unsubscribe_link="http://localhost:8000/u/{}-{}".format):
                await sending.end_of(await sending.send())
            message = server.received[-1].message
            assert ("https://acme.example/bye?a=1&amp;b=2" in part_of(message, "html")) is enabled
            ours = parsed(message)["List-Unsubscribe"].strip("<>")
            assert re.fullmatch(r"http://localhost:8000/u/\d+-\d+", ours)
            assert (ours in part_of(message, "html")) is not enabled
            assert parsed(message)["List-Unsubscribe-Post"] is None


async def test_every_answer_is_written_down(sending: Sending, gateway: Gateway, world: World) -> None:
    """Who is refused for good has FAILED and is suppressed, who is put off gets the mail later; reports say what the
    server said, and the statistics how many there are of each.
    """
    await sending.add_contacts(5)
    answers = ("550 5.1.1 Nobody here", "451 4.7.1 Greylisted", "552 5.2.2 Mailbox full", "250 OK")
    async with mail_server(recipients=answers) as server:
        row = await sent(sending, server)
    assert (row.status, row.total_sent, row.problem_code) == ("COMPLETED", 3, None)
    first, second, third, *others = await sending.rows(WRITTEN, id=row.id)
    states = [(each.status, each.attempt) for each in (first, second, third)]
    assert states == [("FAILED", 1), ("SENT", 2), ("FAILED", 1)]
    assert {(each.status, each.attempt) for each in others} == {("SENT", 1)}
    assert await sending.reports(row.id) == {
        ("FAILED", "550 5.1.1 Nobody here"): 1,
        ("DEFERRED", "451 4.7.1 Greylisted"): 1,
        ("FAILED", "552 5.2.2 Mailbox full"): 1,
        ("SENT", ACCEPTED): 3,
    }
    suppressed = await sending.rows("SELECT address, reason FROM suppressions WHERE campaign_id = :id", id=row.id)
    assert suppressed == [(first.address, "REFUSED")]
    answer = await gateway.ask(STATISTICS, world.acme.tokens["admin"], {"id": encode("Campaign", row.id)})
    campaign = answer.data["campaign"]
    none = dict.fromkeys(("queued", "sending", "delivered", "deferred", "bounced"), 0)
    none |= dict.fromkeys(("unsubscribed", "unknown", "canceled"), 0)
    assert campaign["statistics"] == {**none, "total": 5, "sent": 3, "failed": 2}
    assert (campaign["status"], campaign["totalSent"]) == ("COMPLETED", 3)
    assert None not in (campaign["sentAt"], campaign["delivery"]["endedAt"])
    assert campaign["delivery"]["sender"] == "news@acme.campaigns.example"


async def test_nobody_there(sending: Sending) -> None:
    """A campaign whose mails are all refused has FAILED and was never sent."""
    await sending.add_contacts(3)
    async with mail_server(recipients=("550 5.1.1 Nobody here",)) as server:
        row = await sent(sending, server)
    assert (row.status, row.problem_code, row.total_sent, row.sent_at) == ("FAILED", "NOBODY_REACHED", 0, None)
    kinds = await sending.rows("SELECT kind FROM notifications WHERE campaign_id = :id", id=row.id)
    assert kinds == [("CAMPAIGN_FAILED",)]


async def test_same_message_id_at_each_attempt(sending: Sending) -> None:
    """A mail that is tried again is the same mail, by its Message-ID and all that it says, so that whoever has it
    twice can tell.
    """
    await sending.add_contacts(1)
    async with mail_server(messages=("451 4.3.0 Later", "452 4.3.1 Later", ACCEPTED)) as server:
        row = await sent(sending, server)
    assert (row.status, row.total_sent) == ("COMPLETED", 1)
    tried = [re.sub(rb"\r\nDate: [^\r]+", b"", received.message) for received in server.received]
    assert (len(tried), len(set(tried))) == (3, 1)
    (written,) = await sending.rows(WRITTEN, id=row.id)
    assert (written.status, written.attempt) == ("SENT", 3)


async def test_what_contacts_are_called_is_text(sending: Sending) -> None:
    """Whatever stands in a contact's fields comes as text: no header, no recipient, no markup and no field of ours."""
    await sending.add_contacts(len(PAYLOADS))
    for number, payload in enumerate(PAYLOADS.values(), 1):
        await sending.change(RENAME, n=str(number), first=payload, last=payload)
    async with mail_server() as server:
        row = await sent(sending, server, message_content="<p>Dear {{contact.first_name}}!</p>")
    assert (row.status, row.total_sent, len(server.received)) == ("COMPLETED", len(PAYLOADS), len(PAYLOADS))
    written = {each.address: each for each in await sending.rows(WRITTEN, id=row.id)}
    for number, payload in enumerate(PAYLOADS.values(), 1):
        address = f"person{number}@customer.example"
        received = by_recipient(server)[address]
        mail = parsed(received.message)
        assert set(mail.keys()) == HEADERS
        assert len(mail.keys()) == len(HEADERS)
        (to,) = mail["To"].addresses
        assert (to.addr_spec, printed(to.display_name)) == (address, printed(payload) * 2)
        assert printed(mail["Subject"]) == printed(f"Hello {payload}")
        assert f"<p>Dear {html.escape(with_newlines(payload))}!</p>" in part_of(received.message, "html")
        assert part_of(received.message, "html") == with_newlines(written[address].content)
        assert f"Dear {with_newlines(payload)}!" in part_of(received.message, "plain")


async def test_long_values(sending: Sending) -> None:
    """Of a text of any length a mail says a thousand characters, in its headers too."""
    await sending.add_contacts(2)
    await sending.change(RENAME, n="1", first=LONG, last=LONG)
    async with mail_server() as server:
        row = await sent(sending, server)
    assert (row.status, row.total_sent) == ("COMPLETED", 2)
    mail = parsed(by_recipient(server)["person1@customer.example"].message)
    assert mail["To"].addresses[0].display_name.replace(" ", "") == "A" * 2000
    assert mail["Subject"].replace(" ", "") == "Hello" + "A" * 1000
    assert max(map(len, by_recipient(server)["person1@customer.example"].message.split(b"\r\n"))) < 998


async def test_a_slow_domain_holds_up_nobody_else(sending: Sending) -> None:
    """While a domain has had as many mails as it takes for now, all others get theirs."""
    await sending.add_contacts(450, domain="slow.example")
    await sending.change(OLDER, like="%@slow.example")
    await sending.change(
        "INSERT INTO contacts (company_id, email, country, email_consent_given)"
        " SELECT :company_id, 'person@fast' || n || '.example', 'Audience', true FROM generate_series(1, 450) AS n",
        company_id=sending.company_id,
    )
    pacer = Pacer(math.inf, 1 / 3600, clock=time.monotonic)
    async with mail_server() as server, at_work(sending.url, server.url, pacer=pacer):
        id = await sending.send()
        with anyio.fail_after(30):
            await server.until_received(451)
        assert (await sending.row(id)).status == "SENDING"
    assert Counter(each.recipient.partition("@")[2] for each in server.received) == Counter(
        ["slow.example", *(f"fast{n}.example" for n in range(1, 451))]
    )
    assert await sending.recipients(id) == {"SENT": 451, "QUEUED": 449}


async def test_pace_of_all_campaigns(sending: Sending) -> None:
    """The pace is that of a domain, whichever campaign mails to it, and at any time no more go than it allows."""
    await sending.add_contacts(12)
    now = 0.0
    times = []

    def clock() -> float:
        return now

    class Counted(Pacer):
        def take(self, domain: str) -> float:
            nonlocal now
            delay = super().take(domain)
            if delay:
                now += delay / 2
            else:
                times.append(now)
            return delay

    pacer = Counted(math.inf, 10, clock=clock)
    async with mail_server() as server, at_work(sending.url, server.url, pacer=pacer):
        campaigns = [await sending.send(name=name) for name in ("First", "Second")]
        rows = [await sending.end_of(id) for id in campaigns]
    assert [row.total_sent for row in rows] == [12, 12]
    assert len(times) == 24
    assert all(later - earlier >= 0.1 - 1e-6 for earlier, later in pairwise(times))


async def test_sending_longer_than_the_deadline(sending: Sending) -> None:
    """However long a campaign takes, by its pace or because it was paused: as long as the server takes mails,
    nobody is given up.
    """
    await sending.add_contacts(3)
    async with mail_server() as server, at_work(sending.url, server.url, deadline=timedelta(0)):
        row = await sending.end_of(await sending.send())
    assert (row.status, row.total_sent, row.problem_code) == ("COMPLETED", 3, None)


async def test_deadline(sending: Sending) -> None:
    """When the time is over and there is no server, or it takes no mails for now, those who wait are given up."""
    await sending.add_contacts(3)
    greylisting = mail_server(recipients=("250 OK", "451 4.7.1 Greylisted"))
    async with greylisting as server, at_work(sending.url, server.url, deadline=timedelta(0), connections=1):
        put_off = await sending.end_of(await sending.send())
    assert (put_off.status, put_off.total_sent, put_off.problem_code) == ("COMPLETED", 1, None)
    assert (await sending.reports(put_off.id))[("FAILED", "451 4.7.1 Greylisted")] == 2
    away = FixedTransport(Outcome.SERVER_AWAY, "Nobody answers.")
    async with at_work(sending.url, away, deadline=timedelta(0)):
        row = await sending.end_of(await sending.send())
    assert (row.status, row.total_sent, row.problem_code) == ("FAILED", 0, "DEADLINE_PASSED")
    assert await sending.reports(row.id) == {("FAILED", TOO_LATE): 3}


async def test_campaigns_side_by_side(sending: Sending) -> None:
    """Two workers and five campaigns to the same people: everybody gets each of them once, and no other's text."""
    await sending.add_contacts(30)
    async with mail_server() as server, at_work(sending.url, server.url), at_work(sending.url, server.url):
        campaigns = {
            await sending.send(message_subject=f"Number {n}", message_content=f"<p>This is number {n}.</p>"): n
            for n in range(5)
        }
        rows = [await sending.end_of(id) for id in campaigns]
    assert [(row.status, row.total_sent) for row in rows] == [("COMPLETED", 30)] * 5
    got: Counter[tuple[int, str]] = Counter()
    for received in server.received:
        mail = parsed(received.message)
        n = campaigns[UUID(mail["Message-ID"].partition(".")[2].partition("@")[0])]
        assert mail["Subject"] == f"Number {n}"
        assert f"This is number {n}." in part_of(received.message, "html")
        got[(n, received.recipient)] += 1
    assert got == Counter((n, f"person{each}@customer.example") for n in range(5) for each in range(1, 31))


async def test_companies_side_by_side(sending: Sending, world: World) -> None:
    """What one company sends is its own in everything, though both have the same contacts and the same campaigns."""
    await sending.change(
        "UPDATE campaign_settings SET domain_slug = 'globex' WHERE company_id = :id", id=world.globex.id
    )
    async with sending_of(world.url, world.globex) as other, mail_server() as server:
        companies = {"acme": sending, "globex": other}
        for name, company in companies.items():
            await company.add_contacts(40)
            await company.change(
                "UPDATE contacts SET last_name = :name || '''s' WHERE company_id = :id AND country = 'Audience'",
                name=name,
                id=company.company_id,
            )
        async with at_work(world.url, server.url), at_work(world.url, server.url):
            campaigns = {
                name: await company.send(
                    message_sender=f"news@{name}.campaigns.example",
                    message_content=f"<p>{name} to {{{{contact.last_name}}}} by {{{{user.email}}}}</p>",
                    filter=EVERYBODY,
                )
                for name, company in companies.items()
            }
            rows = {name: await company.end_of(campaigns[name]) for name, company in companies.items()}
        emails = {
            name: await company.value("SELECT email FROM users WHERE id = :id", id=company.user_id)
            for name, company in companies.items()
        }
    got: Counter[tuple[str, str]] = Counter()
    for received in server.received:
        mail = parsed(received.message)
        name = mail["From"].addresses[0].domain.partition(".")[0]
        company_id = companies[name].company_id
        assert f"<p>{name} to {name}&#x27;s by {emails[name]}</p>" in part_of(received.message, "html")
        assert mail["List-Unsubscribe"].startswith(f"<https://gateway.example/u/{company_id}-")
        assert received.sender.startswith(f"bounce-{company_id}-")
        assert received.sender.endswith(f"@{name}.campaigns.example")
        got[(name, received.recipient)] += 1
    assert got == Counter((name, f"person{n}@customer.example") for name in companies for n in range(1, 41))
    for name, row in rows.items():
        assert (row.status, row.total_sent, row.company_id) == ("COMPLETED", 40, companies[name].company_id)
        owners = await sending.rows(
            "SELECT DISTINCT r.company_id, c.company_id FROM recipients r JOIN contacts c ON c.id = r.contact_id"
            " WHERE r.campaign_id = :id",
            id=row.id,
        )
        assert owners == [(companies[name].company_id,) * 2]

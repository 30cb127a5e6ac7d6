"""Are the mails of a campaign, of which most is encoded once, what they would be if each were written by itself?"""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from content.mail_template import (
    CAMPAIGN_HEADERS,
    LONGEST_LINE,
    BrokenMail,
    Built,
    MailTemplate,
    as_shown,
    campaign_message_id,
    checked,
)
from content.mime import Mailbox, message_bytes
from content.rendering import RenderedMessage, compile_message

SENDER = Mailbox("noreply@acme.example", 'Ærø & "Sons", Inc.')
TO = Mailbox("ann@contact.example", "Ann Lee")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MESSAGE_ID = "<7.abc@acme.example>"
URL = "https://gateway.example/u/7"
CONTENT = (
    '<p title="{{contact.city}}">Dear {{contact.first_name|you}}, {{contact.last_name}}</p>'
    '<p><a href="https://x.example/{{contact.city}}?n={{contact.first_name}}">{{contact.city}} æøå</a></p>'
)
NAMES = ("contact.first_name", "contact.last_name", "contact.city", "unsubscribe_url")
# Each ends a line, or a text, for somebody on the way.
BREAKS = ("\r", "\n", "\r\n", "\0", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029")
# Rich in what quoted-printable and its lines stumble over.
VALUES = st.one_of(
    st.none(),
    st.text(max_size=200),
    st.lists(st.sampled_from(["\r", "\n", " ", "\t", ".", "=", "x" * 37, "ø" * 13, "From ", "--=_"])).map("".join),
)


def template(content: str = CONTENT, subject: str = "Hi {{contact.first_name}}") -> MailTemplate:
    return MailTemplate(compile_message(subject=subject, content=content, template=None, footer=True), sender=SENDER)


def built(values: Mapping[str, str | None], mail: MailTemplate, to: Mailbox = TO, url: str | None = URL) -> Built:
    return mail.bytes_for(values, to=to, message_id=MESSAGE_ID, date=NOON, unsubscribe_url=url)


def verified(mail: Built, to: Mailbox = TO, url: str | None = URL) -> Built:
    return checked(mail, sender=SENDER, to=to, message_id=MESSAGE_ID, date=NOON, unsubscribe_url=url)


def parsed(mail: Built) -> EmailMessage:
    return message_from_bytes(mail.message, policy=policy.default)


def head_of(message: bytes) -> bytes:
    return message.partition(b"\r\nMIME-Version:")[0]


def contents(message: bytes) -> list[tuple[str, str]]:
    parts = cast("list[EmailMessage]", list(message_from_bytes(message, policy=policy.default).iter_parts()))
    return [(part["Content-Type"], part.get_content()) for part in parts]


@settings(max_examples=200, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)), st.text(max_size=60), st.sampled_from([URL, None]))
def test_a_mail_is_what_it_would_be_by_itself(values: dict[str, str | None], name: str, url: str | None) -> None:
    """Headers are the same bytes, bodies the same text: only soft line breaks and the boundary stand elsewhere."""
    mail = built(values, template(), Mailbox(TO.address, name), url)
    alone = message_bytes(
        sender=SENDER,
        to=as_shown(Mailbox(TO.address, name)),
        rendered=RenderedMessage(mail.subject, mail.html, mail.text),
        message_id=MESSAGE_ID,
        date=NOON,
        unsubscribe_url=url,
        headers=CAMPAIGN_HEADERS,
    )
    assert head_of(mail.message) == head_of(alone)
    assert contents(mail.message) == contents(alone)
    assert verified(mail, Mailbox(TO.address, name), url) is mail


@settings(max_examples=200, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)), VALUES.map(lambda text: text or ""))
def test_lines_are_short_and_end_in_crlf(values: dict[str, str | None], literal: str) -> None:
    """Whatever literals and values hold, no line of a body is longer than 76 octets, none of the mail than 998."""
    content = f"<pre>{{{{contact.city}}}}{literal}{{{{contact.last_name}}}}{{{{contact.city}}}}{literal}</pre>"
    message = built(values, template(content)).message
    assert message.isascii()
    assert b"\r" not in message.replace(b"\r\n", b"")
    assert b"\n" not in message.replace(b"\r\n", b"")
    head, _, body = message.partition(b"\r\n\r\n")
    assert max(map(len, body.split(b"\r\n"))) <= 76
    assert max(map(len, head.split(b"\r\n"))) <= LONGEST_LINE


@pytest.mark.parametrize("length", range(60, 90))
def test_breaks_at_the_edge_of_a_line(length: int) -> None:
    """A literal or a value that ends at the end of a line leaves room for the break that follows it."""
    long = "x" * length
    for letters in (long, f"{long[1:]} ", f"{long} \nx", f"{long}\t\nx", f"{long}ø", f"{long}\n"):
        mail = built({"contact.city": letters}, template(f"<pre>{letters}{{{{contact.city}}}}{letters}</pre>"))
        assert letters.strip() in verified(mail).html
        assert max(map(len, mail.message.split(b"\r\n"))) <= 76


def test_equal_arguments_give_equal_bytes() -> None:
    """A mail that is built a second time, by another process too, is the same."""
    values = {"contact.first_name": "Ann"}
    assert built(values, template()) == built(values, template())


def test_headers_of_a_campaign_mail() -> None:
    """Sender, receiver, both unsubscribe headers and the request for no absence notes."""
    found = parsed(built({}, template()))
    assert found.keys() == [
        *("From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "Precedence"),
        *("MIME-Version", "Content-Type"),
    ]
    assert (found["List-Unsubscribe-Post"], found["Precedence"]) == ("List-Unsubscribe=One-Click", "bulk")
    plain = parsed(built({}, template(), url="http://gateway.example/u/7"))
    assert (plain["List-Unsubscribe"], plain["List-Unsubscribe-Post"]) == ("<http://gateway.example/u/7>", None)


def test_the_company_has_a_page_of_its_own_to_unsubscribe() -> None:
    """It is the link in the body; the header keeps the address that answers one click."""
    mail = built({"unsubscribe_url": "https://acme.example/bye"}, template())
    assert 'href="https://acme.example/bye"' in mail.html
    assert "Unsubscribe (https://acme.example/bye)" in mail.text
    assert parsed(mail)["List-Unsubscribe"] == f"<{URL}>"


def test_the_message_id_of_a_recipient() -> None:
    """It names recipient and campaign, and is one that a mail can have."""
    id = campaign_message_id(42, UUID(int=10), "acme.example")
    assert id == "<42.0000000000000000000000000000000a@acme.example>"
    mail = template().bytes_for({}, to=TO, message_id=id, date=NOON, unsubscribe_url=URL)
    assert parsed(mail)["Message-ID"] == id


@pytest.mark.parametrize("line_break", BREAKS)
def test_no_value_adds_a_header(line_break: str) -> None:
    """A line break in any field, or in the receiver's name, starts no header and no body."""
    for bad in (f"{line_break}Bcc: eve@x.example", f"A{line_break}{line_break}<p>Body", line_break):
        to = Mailbox(TO.address, f"Ann{bad}")
        mail = verified(built(dict.fromkeys(NAMES, bad), template(), to), to)
        assert len(parsed(mail).keys()) == 10
        assert len(mail.subject.splitlines()) == 1
        assert [box.addr_spec for box in parsed(mail)["To"].addresses] == [TO.address]


def test_half_a_character_is_a_question_mark() -> None:
    """A lone surrogate in a value stops no mail."""
    to = Mailbox(TO.address, "A\ud800")
    mail = verified(built(dict.fromkeys(NAMES, "a\ud800"), template(), to), to)
    assert mail.subject == "Hi a?"


@pytest.mark.parametrize(
    "address", ["", "ann", "a@b@x.example", "ann@x.example\r\nBcc: b@x.example", "ann@x.example,b@y.example"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    """Nothing is built for a receiver or a sender that is not one mailbox."""
    with pytest.raises(ValueError, match=r"address|domain|part"):
        built({}, template(), Mailbox(address))
    with pytest.raises(ValueError, match=r"address|domain|part"):
        MailTemplate(template().compiled, sender=Mailbox(address))


PAYLOADS = (
    "{{7*7}}",
    "${7*7}",
    "{%% for i in range(10**9) %%}x{%% endfor %%}",
    "{{contact.__class__.__mro__}}",
    "{{" * 1_000 + "contact.city" + "}}" * 1_000,
    "{{contact.city|{{contact.city}}}}",
    "{{ 9**9**9 }}",
    "{{'a'*10**9}}",
    "\ue0000\ue001",
)


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: ascii(payload[:20]))
def test_nothing_is_run(payload: str) -> None:
    """What other template languages would carry out is text in a value, and text or nothing in a source."""
    mail = verified(built({"contact.first_name": payload, "contact.city": "Here"}, template(subject="x")))
    assert payload.replace("'", "&#x27;") in mail.html
    assert payload in mail.text
    source = verified(built({"contact.city": "Here"}, template(payload, subject=payload.replace("\ue000", ""))))
    assert "49" not in source.html + source.subject
    assert len(source.message) < 20_000


def test_a_long_value_a_thousand_times_is_bounded() -> None:
    """The mail is as long as what it holds, in memory it takes a few times that, and nothing of it stays."""
    mail = template("{{contact.city}} " * 1_000)
    values = {"contact.city": "x" * 1_000}
    assert len(built(values, mail).message) < 2_200_000
    tracemalloc.start()
    try:
        for _ in range(3):
            verified(built(values, mail))
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(5):
            built(values, mail)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - kept < 20_000_000
    assert now - kept < 100_000


BROKEN = {
    "From": (b"noreply@acme.example", b"eve@acme.example"),
    "To": (b"<ann@contact", b"<eve@contact"),
    "Subject": (b"Subject: Hi", b"Subject: Ho"),
    "Date": (b"21 Nov", b"22 Nov"),
    "Message-ID": (b"<7.abc", b"<8.abc"),
    "List-Unsubscribe": (b"/u/7>", b"/u/8>"),
    "List-Unsubscribe-Post": (b"=One-Click", b"=Two-Click"),
    "Precedence": (b": bulk", b": junk"),
    "Content-Type": (b"text/plain", b"text/other"),
    "text/plain": (b"Dear =\r\nAnn", b"Dear =\r\nEve"),
    "text/html": (b"Unsubscribe</a>", b"Subscribe</a>"),
    "a line": (b"Dear ", b"Dear\n "),
}


@pytest.mark.parametrize("where", BROKEN)
def test_a_broken_mail_is_found(where: str) -> None:
    """A mail that does not say what was meant is told by the header or part that is wrong, not by its value."""
    mail = verified(built({"contact.first_name": "Ann"}, template()))
    right, wrong = BROKEN[where]
    assert right in mail.message
    broken = Built(mail.message.replace(right, wrong), mail.subject, mail.html, mail.text)
    with pytest.raises(BrokenMail, match=f"^{where} does not come back") as found:
        verified(broken)
    assert found.value.where == where


@pytest.mark.parametrize("header", [b"Bcc: eve@x.example", b"To: eve@x.example", b"List-Unsubscribe: <x>"])
def test_a_header_too_many_is_found(header: bytes) -> None:
    """A mail with a header that nobody meant, or with one twice, is broken."""
    mail = built({}, template())
    with pytest.raises(BrokenMail, match=header.partition(b":")[0].decode()):
        verified(Built(header + b"\r\n" + mail.message, mail.subject, mail.html, mail.text))
    with pytest.raises(BrokenMail, match="List-Unsubscribe"):
        verified(mail, url=None)

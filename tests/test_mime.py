"""Are the bytes of a mail what was meant, for every mail program and whatever the values hold?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content.addresses import address_problem, ascii_address, domain_of
from content.mime import Mailbox, header_problem, headers_of, message_bytes
from content.rendering import RenderedMessage

SENDER = Mailbox("noreply@acme.example", "Acme")
TO = Mailbox("ann@contact.example")
MAIL = RenderedMessage("News", "<p>Hi</p>\n", "Hi\n")
MESSAGE_ID = "<1.abc@acme.example>"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
BREAKS = ("\r", "\n", "\r\n", "\0", "\v", "\f", "\x85", "\u2028", "\u2029")


def built(
    *,
    sender: Mailbox = SENDER,
    to: Mailbox = TO,
    rendered: RenderedMessage = MAIL,
    message_id: str = MESSAGE_ID,
    date: datetime = NOON,
    unsubscribe_url: str | None = None,
    headers: dict[str, str] | None = None,
) -> bytes:
    return message_bytes(
        sender=sender,
        to=to,
        rendered=rendered,
        message_id=message_id,
        date=date,
        unsubscribe_url=unsubscribe_url,
        headers=headers,
    )


def parsed(message: bytes) -> EmailMessage:
    return message_from_bytes(message, policy=policy.default)


def test_a_mail_says_what_was_meant() -> None:
    """Headers and both parts come back as they went in."""
    message = built(
        sender=Mailbox("noreply@acme.example", 'Ærø & "Sons", Inc.'),
        to=Mailbox("ann@ærø.example", "Ann <Lee>"),
        rendered=RenderedMessage("Grüße, 世界 " + "x" * 100, "<p>Ærø =20</p>\n" + "ø" * 2_000, "Ærø\n.\nFrom x\n \n"),
        unsubscribe_url="https://acme.example/u/1?a=b",
        headers={"X-Campaign": "1", "Feedback-ID": "ø:" + "y" * 200},
    )
    found = parsed(message)
    assert found.defects == []
    assert [(box.display_name, box.addr_spec) for box in (*found["From"].addresses, *found["To"].addresses)] == [
        ('Ærø & "Sons", Inc.', "noreply@acme.example"),
        ("Ann <Lee>", "ann@xn--r-3fa9c.example"),
    ]
    assert found["Subject"] == "Grüße, 世界 " + "x" * 100
    assert found["Date"].datetime == NOON
    assert found["Message-ID"] == MESSAGE_ID
    assert found["List-Unsubscribe"] == "<https://acme.example/u/1?a=b>"
    assert found["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert (found["X-Campaign"], found["Feedback-ID"]) == ("1", "ø:" + "y" * 200)
    assert found["MIME-Version"] == "1.0"
    assert found.get_content_type() == "multipart/alternative"
    text, html = cast("list[EmailMessage]", list(found.iter_parts()))
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert text.get_content().replace("\r\n", "\n") == "Ærø\n.\nFrom x\n \n"
    assert html.get_content().replace("\r\n", "\n") == "<p>Ærø =20</p>\n" + "ø" * 2_000


def test_a_mail_without_an_unsubscribe_address() -> None:
    """The headers of RFC 8058 are there only with an address, and one-click only with https."""
    assert parsed(built())["List-Unsubscribe"] is None
    plain = parsed(built(unsubscribe_url="http://acme.example/u"))
    assert (plain["List-Unsubscribe"], plain["List-Unsubscribe-Post"]) == ("<http://acme.example/u>", None)


def test_equal_mails_are_equal_bytes() -> None:
    """Nothing in the bytes is random or of the moment; another content has another boundary."""
    assert built() == built()
    boundaries = {parsed(message).get_boundary() for message in (built(), built(message_id="<2@acme.example>"))}
    assert len(boundaries) == 2


@given(
    st.builds(
        RenderedMessage, st.text(max_size=300).filter(lambda text: not header_problem(text)), st.text(), st.text()
    ),
    st.text(max_size=100).filter(lambda text: not header_problem(text)),
)
def test_any_text_goes_through(rendered: RenderedMessage, name: str) -> None:
    """Whatever subject, name and parts hold, lines end in CRLF, are ASCII and short, and the texts come back."""
    message = built(rendered=rendered, to=Mailbox("ann@contact.example", name))
    assert message.isascii()
    assert b"\n" not in message.replace(b"\r\n", b"")
    assert b"\r" not in message.replace(b"\r\n", b"")
    assert max(map(len, message.split(b"\r\n"))) <= 78
    assert max(map(len, message.partition(b"\r\n\r\n")[2].split(b"\r\n"))) <= 76
    found = parsed(message)
    assert found["Subject"] == rendered.subject
    assert [box.addr_spec for box in found["To"].addresses] == ["ann@contact.example"]
    assert len(found.keys()) == 7
    for part, content in zip(found.iter_parts(), (rendered.text, rendered.html), strict=True):
        normal = content.replace("\r\n", "\n").replace("\r", "\n")
        assert cast("EmailMessage", part).get_content().replace("\r\n", "\n") == normal


def test_long_names_and_subjects_are_folded() -> None:
    """No header makes a line longer than 78 characters, a long address excepted."""
    name = "A name of many words, " * 20
    message = built(sender=Mailbox("a@acme.example", name), rendered=RenderedMessage("x" * 5_000, "", ""))
    assert max(map(len, message.split(b"\r\n"))) <= 78
    assert headers_of(message)[0] == ("From", f"{name} <a@acme.example>")
    longest = f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.example"[:254]
    assert max(map(len, built(to=Mailbox(longest, "Ann")).split(b"\r\n"))) <= 998


INJECTIONS: dict[str, Callable[[str], bytes]] = {
    "sender": lambda bad: built(sender=Mailbox(f"a{bad}@acme.example")),
    "sender's domain": lambda bad: built(sender=Mailbox(f"a@acme.example{bad}")),
    "sender's name": lambda bad: built(sender=Mailbox("a@acme.example", f"A{bad}B")),
    "recipient": lambda bad: built(to=Mailbox(f"a{bad}@acme.example")),
    "recipient's name": lambda bad: built(to=Mailbox("a@acme.example", f"A{bad}B")),
    "subject": lambda bad: built(rendered=RenderedMessage(f"A{bad}B", "", "")),
    "message id": lambda bad: built(message_id=f"<a{bad}@acme.example>"),
    "end of the message id": lambda bad: built(message_id=f"<a@acme.example>{bad}"),
    "unsubscribe address": lambda bad: built(unsubscribe_url=f"https://acme.example/{bad}"),
    "header's name": lambda bad: built(headers={f"X-A{bad}": "b"}),
    "header's value": lambda bad: built(headers={"X-A": f"a{bad}b"}),
}


@pytest.mark.parametrize("place", INJECTIONS)
@pytest.mark.parametrize("line_break", BREAKS)
def test_no_argument_breaks_a_header(place: str, line_break: str) -> None:
    """A line break in any argument that becomes a header is refused."""
    for bad in (line_break, f"{line_break}Bcc: victim@x.example"):
        with pytest.raises(ValueError, match=r"."):
            INJECTIONS[place](bad)


@pytest.mark.parametrize("place", ["sender's name", "recipient's name", "subject", "header's value"])
def test_half_a_character_is_refused(place: str) -> None:
    """A lone surrogate has no bytes."""
    with pytest.raises(ValueError, match="half a character"):
        INJECTIONS[place]("\ud800")


def test_spaces_at_the_ends_are_kept() -> None:
    """Mail programs drop spaces around a value, unless they are encoded."""
    assert headers_of(built(rendered=RenderedMessage("  a ", "", "")))[2] == ("Subject", "  a ")


def test_encoded_words_in_values_are_text() -> None:
    """What looks like an encoded word is shown as it is, and does not become what it encodes."""
    word = "=?utf-8?q?a=0D=0ABcc=3A_x?="
    found = parsed(built(sender=Mailbox("a@acme.example", word), rendered=RenderedMessage(word, "", "")))
    assert (found["Subject"], found["From"].addresses[0].display_name) == (word, word)


@pytest.mark.parametrize(
    "name", ["From", "to", "BCC", "Content-Type", "Resent-To", "Sender", "X A", "X:", "", "X-É", "x" * 41]
)
def test_headers_that_change_the_mail_are_refused(name: str) -> None:
    """More headers cannot replace those of the mail, add recipients or change the body's meaning."""
    with pytest.raises(ValueError, match="headers"):
        built(headers={name: "x"})


def test_a_header_is_there_once() -> None:
    """Two spellings of one name are refused."""
    with pytest.raises(ValueError, match="twice"):
        built(headers={"X-A": "1", "x-a": "2"})


def test_dates_have_a_time_zone() -> None:
    """A date is written with its own offset; one without is refused."""
    assert b"Date: Sat, 21 Nov 2026 13:00:00 +0100\r\n" in built(date=NOON.astimezone(timezone(timedelta(hours=1))))
    with pytest.raises(ValueError, match="time zone"):
        built(date=NOON.replace(tzinfo=None))


@pytest.mark.parametrize(
    "url", ["javascript:x", "https://x.example/a b", "https://x.example/,", "https://x/>", "", f"https://x/{'a' * 900}"]
)
def test_unsubscribe_addresses_are_plain(url: str) -> None:
    """What is no http(s) address in ASCII, or does not fit a line, is refused."""
    with pytest.raises(ValueError, match="unsubscribe"):
        built(unsubscribe_url=url)


def test_headers_of_a_mail_are_read_by_people() -> None:
    """Headers are told in their order, decoded and on one line, and odd ones as they stand."""
    found = headers_of(built(rendered=RenderedMessage("Grüße " * 20, "", ""), sender=Mailbox("a@acme.example", "Ærø")))
    assert found[:3] == [
        ("From", "Ærø <a@acme.example>"),
        ("To", "ann@contact.example"),
        ("Subject", "Grüße " * 20),
    ]
    odd = (
        b"Subject: =?nothing?q?x?=\r\nX-A: =?utf-8?b?a?= b\r\nX-B: =?utf-8?q?a=0D=0ABcc:_x?=\r\nX-C: \xff\r\n"
        b"\r\nbody: x"
    )
    names = [name for name, _ in headers_of(odd)]
    assert names == ["Subject", "X-A", "X-B", "X-C"]
    assert dict(headers_of(odd))["Subject"] == "=?nothing?q?x?="
    assert dict(headers_of(odd))["X-B"] == "a Bcc: x"


@given(st.binary(max_size=200))
def test_headers_of_anything(message: bytes) -> None:
    """Any bytes are read without failing, and each header is one line."""
    for _, value in headers_of(message):
        assert len(value.splitlines()) <= 1


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("ann@x.example", "x.example"),
        ("a.b+c_d!#$%&'*/=?^`{|}~-@X.Example", "x.example"),
        ("ann@ærø.example", "xn--r-3fa9c.example"),
        ("ann@localhost", "localhost"),
        ("a@" + ".".join(["b" * 61] * 4), ".".join(["b" * 61] * 4)),
    ],
)
def test_addresses(address: str, domain: str) -> None:
    """Plain addresses are taken, with the domain in ASCII and lower case."""
    assert address_problem(address) is None
    assert domain_of(address) == domain
    assert ascii_address(address) == f"{address.partition('@')[0]}@{domain}"


@pytest.mark.parametrize(
    "address",
    [
        *("", "ann", "@x.example", "ann@", "a@b@c.example", "ann@x..example", ".ann@x.example", "ann.@x.example"),
        *(
            "a..b@x.example",
            "a b@x.example",
            '"a"@x.example',
            "a,b@x.example",
            "<a@x.example>",
            "a@x.example,b@y.example",
        ),
        *("a@-x.example", "a@x-.example", "a@x_y.example", "a@[1.2.3.4]", "a@1.2.3.4", "æ@x.example", "a(b)@x.example"),
        *("a@x.example.", " a@x.example", "a@x.example ", "a:b@x.example", "a;b@x.example", "a\\b@x.example", "a@x/y"),
        *("a@ｘ，ｙ.example", "a@x．example@y", "a@\u2028x.example", "a\udc80@x.example", "a@\udc80.example"),
        *(
            "a" * 65 + "@x.example",
            "a@" + "b" * 64 + ".example",
            "a@" + "b." * 130 + "example",
            "a@" + "ø" * 250,
            "a" * 9_999,
        ),
        *(f"a@{chr(0x131)}{'ø' * 55}." + ".".join(["b" * 60] * 3),),
        *(f"a{line_break}b@x.example" for line_break in BREAKS),
        *(f"a@x.example{line_break}" for line_break in BREAKS),
    ],
)
def test_addresses_that_are_none(address: str) -> None:
    """What is no plain address is told, in a sentence that does not repeat it, and refused."""
    problem = address_problem(address)
    assert problem
    assert len(problem) < 120
    with pytest.raises(ValueError, match=r"."):
        domain_of(address)


@given(st.text())
def test_any_address_is_answered(address: str) -> None:
    """Any text is an address without spaces and line breaks, or has a problem."""
    if address_problem(address) is None:
        assert ascii_address(address).isascii()
        assert not set(ascii_address(address)) & set(' \t\r\n"(),:;<>[\\]')


@pytest.mark.parametrize("line_break", BREAKS)
def test_header_problem(line_break: str) -> None:
    """Control characters and line breaks of Unicode are told; other text is fine."""
    assert header_problem(f"a{line_break}b")
    assert header_problem("Grüße, 世界 \U0001f600") is None

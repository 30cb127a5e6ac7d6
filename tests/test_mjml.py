"""Is a message in MJML as usable and as harmless as one in HTML, from the editor to the mail?"""

from __future__ import annotations

import html
import re
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from content.html import UNWANTED
from content.merge_fields import SUBJECT, known_names
from content.mjml import (
    CHILDREN,
    HOLD_HTML,
    MOST_MJML_ELEMENTS,
    BrokenMjml,
    html_of,
    is_mjml,
)
from content.problems import ContentProblemCode as Code
from content.problems import content_problems, template_problems
from content.rendering import RenderedMessage, compile_message
from store.models import Contact
from tests.build import TestCompany
from tests.campaign_documents import EMAIL, TEST_EMAIL, Desk, but, desk_of_a_module
from tests.template_documents import CREATE, UPDATE, made, refused, stored
from tests.template_documents import EMAIL as TEMPLATE
from tests.test_content import HOSTILE, PIECES, VECTORS, assert_harmless
from tests.test_preview_mutations import CAMPAIGN, page_of
from tests.test_preview_mutations import TEMPLATE as PREVIEW

KNOWN = known_names()
FULL = """<!-- made by hand -->
<mjml xmlns:x="x">
  <mj-head>
    <mj-title>{{subject}}</mj-title>
    <mj-preview>For {{contact.city}} & "you"</mj-preview>
    <mj-font name="Roboto" href="https://fonts.example/roboto.css" />
    <mj-attributes><mj-all font-family="Roboto" /><mj-class name="big" font-size="20px" /></mj-attributes>
    <mj-style>.own { color: #123456 } @media (max-width: 300px) { .own { color: red !important } }</mj-style>
  </mj-head>
  <mj-body background-color="#eeeeee">
    <mj-section>
      <mj-column>
        <mj-text mj-class="big" css-class="own">
          Dear {{contact.first_name|you}}, 1 < 2 &amp; <b>so on<br>{{content}}
        </mj-text>
        <mj-button href="https://x.example/{{contact.city}}?a=1&amp;b={{contact.first_name}}">
          To {{contact.city}}
        </mj-button>
      </mj-column>
      <mj-column>
        <mj-image src="https://x.example/i.png?n={{contact.city}}" alt='{{contact.city}} "in quotes"' />
        <mj-raw><a href="{{unsubscribe_url}}">Off</a></mj-raw>
      </mj-column>
    </mj-section>
  </mj-body>
</mjml>
"""
VALUES = {
    "contact.first_name": "<Ann>",
    "contact.city": "Århus & \u0301\u00a0\\",
    "unsubscribe_url": "https://x.example/u",
}


def in_column(inner: str) -> str:
    return f"<mjml><mj-body><mj-section><mj-column>{inner}</mj-column></mj-section></mj-body></mjml>"


def in_text(inner: str) -> str:
    return in_column(f"<mj-text>{inner}</mj-text>")


def message(content: str, template: str | None = None, **values: str | None) -> RenderedMessage:
    """`values` instead of the usual ones."""
    compiled = compile_message(subject="News", content=content, template=template, footer=True)
    return compiled.render(values or VALUES)


def body(document: str) -> str:
    return document.partition("<body>")[2]


def test_a_message_in_mjml() -> None:
    """It becomes tables with inlined styles; fields are filled in texts, links, addresses and alternative texts."""
    found = message("<p>Content for {{contact.city}}</p>", FULL)
    assert "mj-text" not in found.html
    assert "font-size:20px" in found.html
    assert "font-family:Roboto" in found.html
    assert 'class="own" align="left" style="' in found.html
    assert "color:#123456" in found.html
    assert "Dear &lt;Ann&gt;, 1 &lt; 2 &amp; <b>so on<br><p" in found.html
    city = "Århus &amp; \u0301\u00a0\\"
    assert f"Content for {city}</p>" in found.html
    quoted = "%C3%85rhus%20%26%20%CC%81%C2%A0%5C"
    assert f'href="https://x.example/{quoted}?a=1&amp;b=%3CAnn%3E"' in found.html
    assert f'src="https://x.example/i.png?n={quoted}"' in found.html
    assert f'alt="{city} &quot;in quotes&quot;"' in found.html
    assert f"For {city} &amp; " in found.html
    assert found.html.count("https://x.example/u") == 1
    assert "fonts.example" not in html_of(FULL)
    assert found.text.startswith("Dear <Ann>, 1 < 2 & so on\n\nContent for Århus & \u0301\u00a0\\\n\nTo Århus")


def test_a_content_in_mjml_within_a_template() -> None:
    """Each is turned into HTML by itself, whatever the other is written in."""
    for template in (
        "<h1>{{subject}}</h1>{{content}}<p>end</p>",
        in_text("<i>{{subject}}</i>{{content}}<p>end</p>"),
    ):
        found = message(in_text("Hello {{contact.first_name}}"), template)
        assert "Hello &lt;Ann&gt;" in found.html
        assert "mjml" not in found.html
        assert re.search(r"News[\s\S]*Hello <Ann>[\s\S]*end", found.text)


def test_columns_stand_beside_each_other_on_wide_screens() -> None:
    """What attributes cannot say is kept in the head, where it can do no harm: rules of media for classes."""
    head = message("<p>x</p>", FULL).html.partition("</head>")[0]
    assert "@media only screen and (min-width:480px){.mj-column-per-50{width:50% !important;max-width:50%}}" in head
    assert "@media (max-width: 300px){.own{color:red !important}}" in head


def test_what_is_not_displayed_is_not_in_the_text() -> None:
    """Preview texts and the signs of menus are for programs that show HTML."""
    menu = (
        '<mj-navbar hamburger="hamburger"><mj-navbar-link href="https://x.example/">Shop</mj-navbar-link></mj-navbar>'
    )
    source = f"<mjml><mj-head><mj-preview>Hidden</mj-preview></mj-head><mj-body><mj-section><mj-column>{menu}"
    found = message(f"{source}</mj-column></mj-section></mj-body></mjml>")
    assert found.text.startswith("Shop (https://x.example/)")
    assert "Hidden" in found.html


def test_accordions_are_open() -> None:
    """Mails without their switches show what they hold."""
    parts = "<mj-accordion-title>Title</mj-accordion-title><mj-accordion-text>Inside</mj-accordion-text>"
    found = message(in_column(f"<mj-accordion><mj-accordion-element>{parts}</mj-accordion-element></mj-accordion>"))
    assert re.match(r"Title\s+Inside\s", found.text)
    assert not re.search(r"mj-accordion-content[^}]*display:\s*none", found.html)


@pytest.mark.parametrize("source", ["<mjml>", " \n<!-- x --><MJML >", '\ufeff<?xml version="1.0"?><!DOCTYPE x><mjml>'])
def test_what_is_mjml(source: str) -> None:
    """A source that begins with the element, but for comments and the like."""
    assert is_mjml(source)
    assert not is_mjml(source.removesuffix(">"))
    assert not is_mjml(f"x{source}")
    assert not is_mjml("<p><mjml></p>")


BROKEN = {
    "<mjml>": "<mjml> is not closed.",
    "<mjml><mj-body>\n<mj-section></mj-body></mjml>": "Line 2: </mj-body> ends nothing: <mj-section> is open.",
    "<mjml></mj-x></mjml>": "Line 1: </mj-x> ends nothing: <mjml> is open.",
    "<mjml></mjml></mjml>": "Line 1: </mjml> ends nothing.",
    "<mjml></mjml>\n<p>": "Line 2: <p> cannot stand there.",
    "<mjml></mjml>\n<mjml></mjml>": "Line 2: <mjml> cannot stand there.",
    "<mjml></mjml> x": "Line 1: text and merge fields stand in elements such as <mj-text>.",
    "<mjml>\n<mj-body>\n\n<mj-nope/></mj-body></mjml>": "Line 4: <mj-nope> cannot stand in <mj-body>.",
    "<mjml><mj-body><mj-text>x</mj-text></mj-body></mjml>": "Line 1: <mj-text> cannot stand in <mj-body>.",
    "<mjml><mj-body><mj-section><mj-section>": "Line 1: <mj-section> cannot stand in <mj-section>.",
    in_column("x"): "Line 1: text and merge fields stand in elements such as <mj-text>.",
    in_column("<p>x</p>"): "Line 1: <p> cannot stand in <mj-column>.",
    in_text("<mj-text>x</mj-text>"): "Line 1: <mj-text> cannot stand in <mj-text>.",
    in_text("</mj-column>"): "Line 1: </mj-column> ends nothing: <mj-text> is open.",
    in_column('<mj-text "x">x</mj-text>'): "Line 1: <mj-text> has an attribute that cannot be read.",
    "<mjml><mj-head><mj-attributes><mj-class color='red'/></mj-attributes></mj-head></mjml>": (
        "Line 1: <mj-class> has no name."
    ),
    "<mjml><mj-body>\n<mj-include path='/etc/passwd'/></mj-body></mjml>": (
        "Line 2: A message has no files to include: write out what is to be included (<mj-include>)."
    ),
    in_text("<mj-include path='https://x.example/'>"): (
        "Line 1: A message has no files to include: write out what is to be included (<mj-include>)."
    ),
    in_column("<mj-carousel></mj-carousel>"): (
        "Line 1: Mails hold nothing that is clicked through: use images (<mj-carousel>)."
    ),
}


@pytest.mark.parametrize("source", BROKEN)
def test_what_cannot_be_read(source: str) -> None:
    """The author is told what is wrong and in which line; the message that is made all the same holds its text."""
    for problems in (content_problems(source, KNOWN), template_problems(source, KNOWN)):
        assert [(problem.code, problem.message) for problem in problems] == [(Code.INVALID_MJML, BROKEN[source])]
    assert_harmless(body(message(source + "<p>kept</p>").html))
    assert "kept" in message(source + "<p>kept</p>").text


def path_to(element: str) -> list[str]:
    """The elements around one, from the outermost, and the element itself."""
    parents = [parent for parent, children in CHILDREN.items() if element in children and parent != "mj-attributes"]
    return [*(path_to(parents[0]) if parents else []), element]


@pytest.mark.parametrize(
    ("parent", "child"), [(parent, child) for parent in CHILDREN for child in sorted(CHILDREN[parent])]
)
def test_what_stands_where_it_may_is_taken(parent: str, child: str) -> None:
    """Each element in each place, with attributes and in both ways to end it."""
    path = path_to(parent)
    opened, closed = "".join(f"<{name}>" for name in path), "".join(f"</{name}>" for name in reversed(path))
    for written in (
        f'<{child} name="x" width="9px" href="https://x.example/" xml:lang="da"></{child}>',
        f'<{child} name="x"/>',
    ):
        assert content_problems(opened + written + closed, KNOWN) == []


def test_what_only_mrml_refuses() -> None:
    """It is told without places that nobody can find in what they wrote."""
    head = "<mj-head><mj-attributes><mj-section><mj-column/></mj-section></mj-attributes></mj-head>"
    (problem,) = content_problems(f"<mjml>{head}</mjml>", KNOWN)
    assert (problem.code, problem.message) == (Code.INVALID_MJML, "This is no MJML: unexpected token.")


@pytest.mark.parametrize(
    "text", ["]]>", "-->", "&", "&amp;", "&nope;", "<![CDATA[x]]>", "<?x?>", "<!d>", "</i>", "a > b < c"]
)
def test_texts_that_are_no_xml(text: str) -> None:
    """What stands in texts is read as HTML is, which is never broken."""
    assert content_problems(in_text(text), KNOWN) == []
    assert content_problems(in_column(f'<mj-image alt="{text}"/>'), KNOWN) == []
    title = f"<mj-accordion-title>{text}<b title='{text}'>{text}</b></mj-accordion-title>"
    accordion = f"<mj-accordion><mj-accordion-element>{title}</mj-accordion-element></mj-accordion>"
    assert content_problems(in_column(accordion), KNOWN) == []
    if "<" not in text:
        head = f"<mj-head><mj-preview>{text}</mj-preview><mj-style>{text}</mj-style></mj-head>"
        assert content_problems(f"<mjml>{head}</mjml>", KNOWN) == []


def test_messages_stay_short() -> None:
    """The name of an element is cut."""
    (problem,) = content_problems(f"<mjml><{'x' * 100_000}></mjml>", KNOWN)
    assert len(problem.message) < 100


HARMFUL = {
    in_column('<mj-button href="{{contact.city}}">x</mj-button>'): {Code.MERGE_FIELD_IN_URL},
    in_column('<mj-image src="https://{{contact.city}}/i.png"/>'): {Code.MERGE_FIELD_IN_URL},
    in_column('<mj-text color="{{contact.city}}">x</mj-text>'): {Code.MERGE_FIELD_IN_STYLE},
    in_text('<p style="color:{{contact.city}}">x</p>'): {Code.MERGE_FIELD_IN_STYLE},
    in_column("<mj-text {{contact.city}}='x'>x</mj-text>"): {Code.INVALID_MJML},
    in_column("{{contact.city}}"): {Code.INVALID_MJML},
    in_text("{{contact.nope}}"): {Code.UNKNOWN_MERGE_FIELD},
    "<mjml><mj-head><mj-style>p{color:{{contact.city}}}</mj-style></mj-head></mjml>": {Code.MERGE_FIELD_IN_STYLE},
    FULL.replace("{{content}}", "").replace("{{subject}}", ""): set(),
}


@pytest.mark.parametrize("source", HARMFUL)
def test_fields_where_they_do_harm(source: str) -> None:
    """Where a field stands is judged in the HTML that it comes to."""
    assert {problem.code for problem in content_problems(source, KNOWN)} == HARMFUL[source]


def test_templates_hold_the_content_once() -> None:
    """The place for the content is in an element that holds text."""
    for source, codes in (
        (FULL, []),
        (in_text("x"), [Code.CONTENT_MISSING]),
        (in_text("{{content}}{{content}}"), [Code.CONTENT_REPEATED]),
        (in_column('<mj-image alt="{{content}}"/>'), [Code.CONTENT_MISPLACED]),
        (in_column("<mj-raw>{{content}}</mj-raw>"), []),
    ):
        assert [problem.code for problem in template_problems(source, {*KNOWN, SUBJECT})] == codes


def test_every_letter_survives() -> None:
    """MRML would write some characters otherwise: all come back, in texts, in attributes of MJML and of HTML."""
    letters = [
        letter for letter in map(chr, range(0x20, 0x3000)) if not UNWANTED.match(letter) and letter != "\ue000"
    ] + [*"\u3164\uff9e\uffa0\uffff\U0001f600\U000e0001"]
    for start in range(0, len(letters), 400):
        some = [letter for letter in letters[start : start + 400] if not UNWANTED.match(letter)]
        spelled = [html.escape(letter) for letter in some]
        images = "".join(f'<mj-image alt="{letter}."/>' for letter in spelled)
        links = "".join(f'<a title="{letter}.">{letter}</a>' for letter in spelled)
        document = html_of(in_column(f"{images}<mj-text>{links}</mj-text>"))
        for pattern in (r' alt="([^"]*)\."', r' title="([^"]*)\."', r'\.">([^<]*)</a>'):
            assert [html.unescape(found) for found in re.findall(pattern, document)] == some


def test_only_fields_are_fields() -> None:
    """What looks like the mark that a field travels under stays text."""
    found = message(in_text("{{contact.city}} {{\x000}} {&#123;0}} &#xe000;0&#xe001;"), **{"contact.city": "Here"})
    assert found.text.count("Here") == 1
    assert "{{0}}" in found.text


@pytest.mark.parametrize("vector", VECTORS)
@pytest.mark.parametrize("value", HOSTILE)
def test_known_attacks_come_to_nothing(vector: str, value: str) -> None:
    """Each of the known ways to smuggle in a program, where MJML takes HTML and in its attributes."""
    quoted = html.escape(vector)
    for source in (
        in_text(vector),
        in_column(f"<mj-raw>{vector}</mj-raw>"),
        in_column(f'<mj-button href="{quoted}" css-class="{quoted}" color="{quoted}">x</mj-button>'),
        f"<mjml><mj-head><mj-raw>{vector}</mj-raw><mj-style>{vector}</mj-style></mj-head></mjml>",
    ):
        assert_harmless(body(message(source, **{"contact.city": value}).html))


ATTRIBUTES = (
    "href",
    "src",
    "width",
    "padding",
    "color",
    "css-class",
    "border",
    "background-url",
    "mode",
    "align",
    "name",
)
VALUES_OF_ATTRIBUTES = st.one_of(
    st.sampled_from(
        ["", "1e999px", "-1px", "%", "é%", "50%", "1px 2px 3px 4px 5px", "{{contact.city}}", "facebook-share"]
    ),
    st.text(max_size=12),
)


def elements(parent: str) -> st.SearchStrategy[str]:
    """Of MJML that may stand in the parent, in order or nearly so."""
    attributes = st.dictionaries(st.sampled_from(ATTRIBUTES), VALUES_OF_ATTRIBUTES, max_size=3).map(
        lambda given: "".join(f' {name}="{html.escape(value)}"' for name, value in given.items())
    )

    def element(name: str) -> st.SearchStrategy[str]:
        if name in HOLD_HTML:
            inner = st.lists(PIECES, max_size=2).map("".join)
        else:
            inner = elements(name) if name in CHILDREN else st.just("")
        return st.tuples(attributes, inner).map(lambda parts: f"<{name}{parts[0]}>{parts[1]}</{name}>")

    names = sorted(CHILDREN[parent] - {"mj-attributes"})
    return st.lists(st.sampled_from(names).flatmap(element), max_size=2).map("".join)


@settings(max_examples=150, deadline=None)
@given(elements("mjml"))
def test_no_source_does_harm(inner: str) -> None:
    """Whatever is written, nothing but a problem comes of it, and no value changes what the message is made of."""
    source = f"<mjml>{inner}</mjml>"
    assert all(problem.message for problem in content_problems(source, KNOWN))
    compiled = compile_message(subject="", content=source, template=None, footer=True)
    hostile, plain = (
        compiled.render(dict.fromkeys(("contact.city", "contact.first_name", "unsubscribe_url"), value))
        for value in ('"><script>alert(1)</script>', "x")
    )
    assert assert_harmless(body(hostile.html)) == assert_harmless(body(plain.html))
    assert not re.search("[\ue000-\ue004]", hostile.html + hostile.text)


DEEP = {
    "html": in_text("<div>" * 10_000 + "kept"),
    "closed html": in_text("<div>" * 10_000 + "kept" + "</div>" * 10_000),
    "raw": in_column("<mj-raw>" + "<table><tr><td>" * 10_000 + "kept</mj-raw>"),
    "sections": "<mjml><mj-body>" + "<mj-section>" * 10_000 + "</mj-section>" * 10_000 + "</mj-body></mjml>kept",
    "wrappers": "<mjml><mj-body>" + "<mj-wrapper>" * 10_000 + "kept",
    "columns": in_column("<mj-column>" * 10_000 + "kept"),
    "heads": "<mjml>" + "<mj-head>" * 10_000 + "kept",
    "mjml": "<mjml>" * 10_000 + "kept",
    "attributes": "<mjml><mj-head>" + "<mj-attributes>" * 10_000 + "kept",
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_sources_end_no_process(kind: str) -> None:
    """Ten thousand levels are answered, by a process that has less room for its stack than any worker."""
    program = (
        "import sys, threading; threading.stack_size(512 * 1024);"
        "from content.rendering import compile_message as c;"
        "work = lambda: print(c(subject='', content=sys.stdin.read(), template=None).render({}).text);"
        "thread = threading.Thread(target=work); thread.start(); thread.join()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=DEEP[kind], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "kept"


LARGE = {
    "elements": in_column("<mj-text>x</mj-text>" * MOST_MJML_ELEMENTS),
    "handed down": in_column(f'<mj-social color="{"a" * 100_000}">{"<mj-social-element/>" * 100}</mj-social>'),
    "for all": f'<mjml><mj-head><mj-attributes><mj-all color="{"a" * 100_000}"/></mj-attributes></mj-head>'
    f"<mj-body>{'<mj-section></mj-section>' * 100}</mj-body></mjml>",
    "attribute": in_column(f'<mj-text css-class="{"a" * 2_000_000}">x</mj-text>'),
}


@pytest.mark.parametrize("kind", LARGE)
def test_hostile_amounts_are_refused(kind: str) -> None:
    """What would become many times as long as it is written is a problem, and is not made."""
    tracemalloc.start()
    try:
        with pytest.raises(BrokenMjml, match="too"):
            html_of(LARGE[kind])
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()


def test_fields_are_counted_where_they_come_to_stand() -> None:
    """A field that is said once for all elements is as many as there are elements."""
    fields = "{{contact.city}}" * 11
    head = f'<mjml><mj-head><mj-attributes><mj-text css-class="{fields}"/></mj-attributes></mj-head>'
    texts = "<mj-text>x</mj-text>" * 100
    source = head + f"<mj-body><mj-section><mj-column>{texts}</mj-column></mj-section></mj-body></mjml>"
    assert [problem.code for problem in content_problems(source, KNOWN)] == [Code.TOO_MANY_MERGE_FIELDS]


@pytest.mark.parametrize(
    "piece", ["<", "<mj-text>", "<mjml>", "<!--", '<mj-text a="', "</mj-text>", "{{a}}", "&", "x "]
)
def test_half_a_megabyte_of_anything_is_answered(piece: str) -> None:
    """What never ends is read to its end once, by the checks and by the rendering."""
    for source in (f"<mjml>{piece * (100_000 // len(piece))}", in_text(piece * (100_000 // len(piece)))):
        content_problems(source, KNOWN)
        assert compile_message(subject="", content=source, template=source).render({}).html


@pytest.fixture(scope="module")
async def desk(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        yield desk


@pytest.mark.anyio
async def test_templates_are_kept_as_they_are_written(desk: Desk) -> None:
    """A template in MJML is stored as MJML; one that cannot be read is refused, and says where."""
    template = await made(desk, CREATE, input=but(TEMPLATE, {"content": FULL}))
    assert template["content"] == FULL
    broken = {"content": FULL.replace("</mj-column>", "", 1)}
    for document, variables in (
        (CREATE, {"input": but(TEMPLATE, broken)}),
        (UPDATE, {"id": await stored(desk), "input": broken}),
    ):
        assert await refused(desk, document, **variables) == {"INVALID_MJML input.content"}
    found = await desk.payload(CREATE, input=but(TEMPLATE, broken))
    assert re.match(r"Line \d+: <mj-column> cannot stand in <mj-column>\.$", found["userErrors"][0]["message"])


@pytest.mark.anyio
async def test_campaigns_in_mjml(desk: Desk) -> None:
    """A content that cannot be read is refused as any other that breaks a rule."""
    campaign = but(EMAIL, {"message.content": "<mjml><mj-body><p>x</p></mj-body></mjml>"})
    found = await desk.payload(TEST_EMAIL, input=campaign)
    assert [(error["code"], error["field"]) for error in found["userErrors"]] == [
        ("INVALID_MJML", ["input", "message", "content"])
    ]


@pytest.mark.anyio
async def test_previews_of_mjml(desk: Desk) -> None:
    """A template and a campaign that is set in it are shown as the HTML they become."""
    id = await stored(desk, content=FULL)
    contact = str(await desk.add(Contact, first_name="<Ann>", city="Århus"))
    page = await page_of(desk, await desk.payload(PREVIEW, id=id, content=in_text("Mine"), contactId=contact))
    assert "Mine" in page
    assert "Dear &lt;Ann&gt;" in page
    assert "mj-text" not in page
    campaign = await desk.campaign(template_id=int(id), message_content="<p>Stored</p>")
    page = await page_of(desk, await desk.payload(CAMPAIGN, source={"id": campaign}, contactId=contact))
    assert "Stored" in page
    assert 'href="https://x.example/%C3%85rhus?a=1&amp;b=%3CAnn%3E"' in page


@pytest.mark.anyio
async def test_test_mails_in_mjml(desk: Desk) -> None:
    """The mail that is tried out holds the HTML and a text of it."""
    contact = str(await desk.add(Contact, first_name="Ann", city="Århus"))
    campaign = but(EMAIL, {"message.content": FULL.replace("{{content}}", "").replace("{{subject}}", "")})
    found: Any = await desk.payload(TEST_EMAIL, input=campaign, emails=["ada@example.com"], contactId=contact)
    assert found["userErrors"] == []
    [[written]] = await desk.run("SELECT message FROM test_deliveries ORDER BY created_at DESC LIMIT 1")
    parts = {part.get_content_type(): part for part in message_from_bytes(bytes(written), policy=policy.default).walk()}
    assert parts["text/plain"].get_content().startswith("Dear Ann, 1 < 2 & so on")
    assert "Dear Ann, 1 &lt; 2 &amp; <b>so on" in parts["text/html"].get_content()

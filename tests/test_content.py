"""Is a message what its author wrote, and safe, whatever was written and whatever the values are?"""

from __future__ import annotations

import html
import pickle
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from content.html import DEEPEST, LONGEST_INLINED, MOST_ELEMENTS, clean, cleaned
from content.merge_fields import known_names
from content.problems import content_problems, template_problems
from content.rendering import RenderedMessage, compile_message
from content.text import plain_text_of

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "javascript:alert(1)",
    "'onload='x",
    "{{user.email}}",
)
NAMES = ("contact.first_name", "contact.city", "unsubscribe_url", "subject", "content")
VECTORS = (
    "<script>alert(1)</script>",
    "<script",
    "<img src=x onerror=alert(1)>",
    "<img src=`x`onerror=alert(1)>",
    '<img """><script>alert(1)</script>">',
    "<svg/onload=alert(1)>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<textarea><img title='</textarea><img src=x onerror=alert(1)>'>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='java&#10;script&colon;alert(1)'>x</a>",
    "<a href=' &#1; javascript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<img src='vbscript:x'><img src='data:image/svg+xml,x'>",
    "<a href=//evil.example>x</a><a href=/x>y</a>",
    "<a href='{{contact.city}}'>x</a>",
    "<a href='{{contact.city}}:{{contact.first_name}}'>x</a>",
    "<a href='&#xe000;0&#xe001;'>x</a>&#xe000;99&#xe001;\ue0001\ue001",
    "<a href='{{contact.city}}javascript:alert(1)'>x</a>",
    "<a href='{{unsubscribe_url}}javascript:alert(1)'>x</a><a href='&#xe000;99&#xe001;javascript:alert(1)'>x</a>",
    "<a href='java{{contact.missing}}script:alert(1)'>x</a>",
    "<a href={{contact.city}} title={{contact.first_name}}>x</a>",
    "<p {{contact.city}}={{contact.city}}>",
    "<p title='{{contact.city}}' onclick='{{contact.city}}' style='color:{{contact.city}}'>",
    "<style>p{color:{{contact.city}};background:url(javascript:alert(1))}</style>",
    "<style>@import 'https://evil.example/x.css'; *{background:u\\72l(x);width:expression(alert(1))}</style>",
    "<link rel=stylesheet href=file:///etc/passwd><base href=https://evil.example/><meta http-equiv=refresh>",
    "<p style='background:url(https://x);behavior:url(x);position:fixed;color:red'>",
    "<form action=x><input formaction=javascript:alert(1)><button>y</button></form>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe><object data=x></object><embed src=x>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]><?php x ?>",
)
PIECES = st.sampled_from(
    (
        *VECTORS,
        *(f"{{{{{name}}}}}" for name in NAMES),
        *(
            "{{a|<b onclick=x>}}",
            "<p>",
            "</p>",
            "<a href='https://x.example/?",
            "'>",
            '"',
            "'",
            "<",
            ">",
            "&",
            "<!--",
            "-->",
        ),
        *(
            "<table><tr><td>",
            "</table>",
            "<style>",
            "</style>",
            "<b title='",
            "</title>",
            "<title>",
            "text",
            "\n",
            "<li>",
        ),
    )
)
SOURCES = st.one_of(st.lists(PIECES, max_size=8).map("".join), st.text(max_size=60))


class Structure(HTMLParser):
    """The elements of a document and their attributes."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))


def assert_harmless(document: str) -> list[tuple[str, list[str]]]:
    """Returns the names of the elements and their attributes."""
    elements = Structure(document).elements
    for tag, attributes in elements:
        assert tag not in {
            "script",
            "style",
            "iframe",
            "object",
            "embed",
            "form",
            "input",
            "link",
            "base",
            "svg",
            "math",
        }
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"href", "src"}:
                assert re.match(r"(https?://[a-z]|mailto:|tel:|[/?#]|$)", value), value
            if name == "style":
                assert not re.search(r"url|expression|[\\:]//|@|position", value), value
    return [(tag, list(attributes)) for tag, attributes in elements]


def rendered(content: str, template: str | None = None, **values: str) -> RenderedMessage:
    """`contact__city="x"` is the value of `contact.city`."""
    message = compile_message(subject="About {{contact.city}}", content=content, template=template)
    return message.render({name.replace("__", "."): value for name, value in values.items()})


def body(content: str, **values: str) -> str:
    return rendered(content, **values).html.partition("<body>")[2].partition("</body>")[0].strip()


@settings(max_examples=300, deadline=None)
@given(SOURCES, st.one_of(st.none(), SOURCES), st.sampled_from(HOSTILE))
def test_no_source_and_no_value_does_harm(content: str, template: str | None, value: str) -> None:
    """No script, handler or scheme comes from any source; no value changes the elements and attributes of a message."""
    subject = re.sub("[\ue000-\ue004]", "", content)
    message = compile_message(subject=subject, content=content, template=template, footer=True)
    hostile = message.render(dict.fromkeys((*NAMES, "a"), value))
    plain = message.render(dict.fromkeys((*NAMES, "a"), "x"))
    assert assert_harmless(hostile.html) == assert_harmless(plain.html)
    assert len(hostile.subject.splitlines()) <= 1
    assert not re.search("[\ue000-\ue004]", hostile.html + hostile.text)


@pytest.mark.parametrize("vector", VECTORS)
@pytest.mark.parametrize("value", HOSTILE)
def test_known_attacks_come_to_nothing(vector: str, value: str) -> None:
    """Each of the known ways to smuggle in a program, alone and with hostile values."""
    assert_harmless(
        rendered(vector, f"<p>{vector}</p>{{{{content}}}}", **dict.fromkeys(("contact__city",), value)).html
    )


@settings(max_examples=100, deadline=None)
@given(SOURCES)
def test_cleaning_twice_changes_nothing(source: str) -> None:
    """What is clean stays as it is."""
    once = cleaned(source)
    assert cleaned(once) == once


@settings(max_examples=100, deadline=None)
@given(st.text("p{}:;*/@!.#[]()\\\"'<>-, red0\n"))
def test_no_style_sheet_breaks_a_message(sheet: str) -> None:
    """Whatever a style sheet holds, the text beside it is kept and nothing fails."""
    assert "kept" in cleaned(f"<style>{sheet}</style><p>kept</p>")


@pytest.mark.parametrize(
    ("source", "clean"),
    [
        ("<p>a<p>b &amp; &lt;c&gt;", "<p>a</p><p>b &amp; &lt;c&gt;</p>"),
        ("<ul><li>a<li>b</ul>", "<ul><li>a</li><li>b</li></ul>"),
        ("<b>a<a href='https://x.example/?a=1&b=2'>c</b>", '<b>a<a href="https://x.example/?a=1&amp;b=2">c</a></b>'),
        ("<p><a href=tel:+45>t</a><a href=ftp://x>f</a>", '<p><a href="tel:+45">t</a><a>f</a></p>'),
        ('<body bgcolor="#eee"><title>T</title>x</body>', '<div bgcolor="#eee">x</div>'),
        ("<td>cell</td>", "cell"),
        ("<div><table><tr><td>a</div>b</table>", "<div><table><tbody><tr><td>ab</td></tr></tbody></table></div>"),
        (
            "<p style='color:red;position:fixed;font-family:\"A\", b'>",
            '<p style="color:red;font-family:&quot;A&quot;, b"></p>',
        ),
        ("<!-->a<!--->b<!-- <i> -->c<!d>e<?f?>g</ h>i", "abcegi"),
        ("<x-y>text</x-y><script>no</script>", "text"),
        ("a\0b\ud800c", "abc"),
        ("", ""),
    ],
)
def test_mail_html_is_kept_and_put_in_order(source: str, clean: str) -> None:
    """Listed elements, attributes, addresses and styles stay, in order; of others the text stays."""
    assert cleaned(source) == clean


def test_style_sheets_become_attributes() -> None:
    """Rules are moved to the elements, of which their own styles win; those for media are not."""
    sheet = "<!-- /* } */ .a>b{color:red;margin:1px} @media print{b{color:blue}} b{font-weight:bold} -->"
    found = Structure(cleaned(f"<style>{sheet}</style><p class=a><b style='color:green'>x</b></p>")).elements
    styles = dict(part.split(":") for part in found[1][1]["style"].replace(" ", "").rstrip(";").split(";"))
    assert styles == {"color": "green", "margin": "1px", "font-weight": "bold"}
    assert found[0] == ("p", {"class": "a"})


@pytest.mark.parametrize(
    ("sheet", "kept"),
    [
        ("@media (max-width:9px){.a{color:red}b{color:blue}.c .d{margin:0!important}}", 2),
        ("@media only screen and (min-width: 480px), (prefers-color-scheme: dark){td.a,.b>.c{width:50%}}", 1),
        ("@media x{.a{color:red;position:fixed;background:url(x);behavior:x}}", 1),
        ("@media x{*{color:red}}@media x{a{color:red}}@media x{p,.a{color:red}}@media x{#b{color:red}}", 0),
        ("@media x{.a:not(p){color:red}}@media x{[class]{color:red}}@media x{.a *{color:red}}", 0),
        ("@media x{@media y{.a{color:red}}}@supports (x){.a{color:red}}@font-face{.a{color:red}}", 0),
        ("@media x;{.a{color:red}}@media url(x/y){.a{color:red}}@mediax{.a{color:red}}.a{color:red}", 0),
        ("@media x{.a{width:calc(1px;font-family:'b;color:red}.b{color:blue}}", 2),
        (f"@media x{{{'.a{color:red}' * 5_000}}}", 0),
    ],
)
def test_rules_for_media_stand_in_the_head(sheet: str, kept: int) -> None:
    """What no attribute can say is kept for elements with a class, each rule by itself, and of mails alone."""
    source = f"<style>{sheet}</style><p>x</p>"
    mail, letter = (
        compile_message(subject="", content=source, template=None, footer=footer).render({}).html
        for footer in (True, False)
    )
    head = mail.partition("</head>")[0]
    assert head.count("@media") == kept
    assert head.count("{") == head.count("}") == 2 * kept
    assert not re.search(r"url|position|behavior|calc|font-family", head)
    assert ("<style>" in head, "<style>" in letter) == (kept > 0, False)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["@media x{", ".a{", "color:red", "}", ";", "{", "<", "</style>", "\\", "/*", "*/", "'", "(", "é"]
        )
    )
)
def test_no_sheet_leaves_the_head(pieces: list[str]) -> None:
    """Whatever a sheet holds, its rules for media end where they began."""
    content = f"<style>{''.join(pieces)}</style>{''.join(pieces)}"
    document = compile_message(subject="", content=content, template=None, footer=True).render({}).html
    sheet = clean(content).media
    assert ("<style>" in document) is bool(sheet)
    assert re.fullmatch(r"(@media x\{\.a\{color:red\}\}\n)*", sheet)


def test_deep_style_sheets_are_answered() -> None:
    """Blocks within blocks are read to their end once: otherwise this takes minutes."""
    assert clean(f"<style>{'a{' * 100_000}{'b{}' * 100_000}</style>").media == ""


def test_styles_for_one_medium_are_not_for_all() -> None:
    """A style element for print is not inlined; one for all screens is."""
    for medium, inlined in (("print", False), (" Screen ", True), ("all", True), ("", True)):
        assert ("color:red" in cleaned(f'<style media="{medium}">p{{color:red}}</style><p>x</p>')) is inlined


def test_hostile_amounts_are_bounded() -> None:
    """Depth, number of elements and what style sheets may make of them have bounds; the text stays."""
    deep = cleaned("<div>" * 20_000 + "kept")
    assert deep.count("<div>") == DEEPEST
    assert "kept" in deep
    many = cleaned("<i>x</i>" * (MOST_ELEMENTS + 1))
    assert (many.count("<i>"), many.count("x")) == (MOST_ELEMENTS, MOST_ELEMENTS + 1)
    assert len(cleaned(f"<style>*{{font-family:{'a' * 19_000}}}</style>{'<p>x</p>' * 1_000}")) < LONGEST_INLINED


@pytest.mark.parametrize(
    "piece", ["<", "{{", "&", "<!--", "<a href='", "</", "<a ", '<p style=";', "<style>", "<b><p>", "{{a}}"]
)
def test_half_a_megabyte_of_anything_is_answered(piece: str) -> None:
    """What never ends is read to its end once, by the checks and by the rendering."""
    source = piece * (100_000 // len(piece))
    content_problems(source, known_names())
    template_problems(source, known_names())
    assert compile_message(subject=source[:1_000], content=source, template=source).render({}).html


def test_fields_are_set_into_text_attributes_and_addresses() -> None:
    """Each place has its own encoding, in the HTML and in the text."""
    message = rendered(
        '<p title="{{contact.city}}">{{contact.city}} '
        '<a href="https://x.example/?n={{contact.city|a b}}&m=1">go</a></p>'
        '<a href="mailto:{{user.email}}">write</a> <a href="{{unsubscribe_url}}?x=1">off</a>',
        contact__city='<A> & "B"',
        user__email='a+b@x.example?cc="',
        unsubscribe_url="https://x.example/u?a=1&b=2",
    )
    found = Structure(message.html).elements[-4:]
    assert found == [
        ("p", {"title": '<A> & "B"'}),
        ("a", {"href": "https://x.example/?n=%3CA%3E%20%26%20%22B%22&m=1"}),
        ("a", {"href": "mailto:a+b@x.example%3Fcc%3D%22"}),
        ("a", {"href": "https://x.example/u?a=1&b=2?x=1"}),
    ]
    assert '<p title="&lt;A&gt; &amp; &quot;B&quot;">&lt;A&gt; &amp; &quot;B&quot; <a' in message.html
    assert message.text == (
        '<A> & "B" go (https://x.example/?n=%3CA%3E%20%26%20%22B%22&m=1)\n\n'
        "write (mailto:a+b@x.example%3Fcc%3D%22) off (https://x.example/u?a=1&b=2?x=1)\n"
    )
    assert message.subject == 'About <A> & "B"'


def test_defaults_are_encoded_as_values_are() -> None:
    """A default's entities are text, in attributes and addresses too."""
    assert body('<a href="https://x.example/{{a|b &amp; c}}" title="{{a|b &amp; c}}">{{a|<i>}}</a>') == (
        '<a href="https://x.example/b%20%26%20c" title="b &amp; c">&lt;i&gt;</a>'
    )


def test_what_looks_like_the_mark_of_a_field_is_none() -> None:
    """Private use characters in a source are left out and stand for no field."""
    assert body("\ue0000\ue001{{contact.city}}\ue000", contact__city="x") == "0x"


def test_fields_in_harmful_places_are_left_out() -> None:
    """Where the author was warned of a field, nothing is put in."""
    assert body(
        '<a href="{{contact.city}}">x</a><img src="{{unsubscribe_url}}">', contact__city="https://x.example/"
    ) == ('<a href="">x</a><img src="">')


def test_a_link_without_an_address_leads_nowhere() -> None:
    """Without an unsubscribe address, or with one that is none, the link is inert."""
    assert body('<a href="{{unsubscribe_url}}">x</a>', unsubscribe_url="javascript:x") == '<a href="#">x</a>'
    assert body('<a href="{{unsubscribe_url}}">x</a>') == '<a href="#">x</a>'


def test_the_content_is_set_into_the_template() -> None:
    """Template and content are one document: the template's styles apply, fields of both and the subject are filled."""
    message = rendered(
        "<p>{{contact.city}}</p>",
        "<title>{{subject}}</title><style>p{color:red}</style><h1 title='{{subject}}'>{{subject}}</h1>"
        "<div>{{content}}</div>{{contact.city}} {{content}}",
        contact__city="A&B {{subject}} {{content}}",
    )
    value = "A&amp;B {{subject}} {{content}}"
    assert (
        f'<h1 title="About {value}">About {value}</h1><div><p style="color:red">{value}</p></div>{value} \n'
        in message.html
    )
    assert message.text == "About {0}\n\n{0}\n\n{0}\n".format("A&B {{subject}} {{content}}")


@pytest.mark.parametrize(
    "template", ["<p>no place</p>", "<p title='{{content}}'>x</p>", "<title>{{content}}</title>", "<!--"]
)
def test_the_content_is_never_lost(template: str) -> None:
    """A template without a place for the content is followed by it, unless it ends within a comment or tag."""
    assert ("kept" in rendered("<i>kept</i>", template).html) is (template != "<!--")


def test_unclosed_content_stays_in_its_place() -> None:
    """A content that leaves elements, comments or quotes open does not swallow the template's end."""
    for content in ("<div><b>", "<!-- ", '<a href="', "</div></td></table>", "<style>", "<title>"):
        found = rendered(content, "<table><tr><td><div>{{content}}</div></td></tr></table><p>end</p>").html
        assert "</table><p>end</p>" in found


def test_footer() -> None:
    """A message without a link to the unsubscribe address gets one when asked; others stay as they are."""
    address = {"unsubscribe_url": "https://x.example/u"}
    linked = '<a href="{{unsubscribe_url}}">off</a>'
    for content, with_footer, links in (
        ("x", True, 1),
        ("x", False, 0),
        (linked, True, 1),
        ("{{unsubscribe_url}}", True, 1),
    ):
        message = compile_message(subject="", content=content, template=None, footer=with_footer).render(address)
        assert message.html.count('href="https://x.example/u"') == links
        assert ("Unsubscribe (https://x.example/u)" in message.text) is (with_footer and content is not linked)


@pytest.mark.parametrize(
    ("fragment", "text"),
    [
        ("<h1>A</h1><p>b\n  c<br>d</p>e", "A\n\nb c\nd\n\ne"),
        ("<ul><li>a</li><li>b<ol><li>c</li><li>d</li></ol></li></ul>", "* a\n* b\n1. c\n2. d"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ('<a href="https://x.example/?a&amp;b">go</a>, now', "go (https://x.example/?a&b), now"),
        ('<a href="https://x.example/">https://x.example/</a>', "https://x.example/"),
        ('<a href="mailto:a@x.example">a@x.example</a>', "a@x.example"),
        ('<a href="https://x.example/"><img src="https://x.example/i"></a>', "https://x.example/"),
        ('a <img alt="logo &amp; name"> b<hr>c', "a logo & name b\n--------------------\nc"),
        ('<a href="#top">top</a> <a>no</a>', "top no"),
        ("a\xa0\xa0b", "a\xa0\xa0b"),
        (
            'a<div style="color:red;display:none">b<br>c<div>d</div></div> e<img alt="f" style="display:none"> g',
            "a e g",
        ),
        ("", ""),
    ],
)
def test_plain_text(fragment: str, text: str) -> None:
    """Blocks are lines, cells are words of a line, links are followed by their address unless that is their label."""
    assert plain_text_of(fragment) == text


def test_a_label_that_is_the_address_is_written_once_with_fields_too() -> None:
    """`user.email` as label of a link to it is not repeated in the text."""
    message = rendered('<a href="mailto:{{user.email}}">{{user.email}}</a>', user__email="a@x.example")
    assert message.text == "a@x.example\n"


def test_compiled_messages_can_be_handed_on() -> None:
    """A compiled message survives pickling and is equal for equal sources."""
    message = compile_message(subject="{{a}}", content="<b>{{b}}</b>", template=None)
    copy = pickle.loads(pickle.dumps(message))
    assert copy == message == compile_message(subject="{{a}}", content="<b>{{b}}</b>", template=None)
    assert html.unescape(copy.render({"b": "<"}).html) == html.unescape(message.render({"b": "<"}).html)

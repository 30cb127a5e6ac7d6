"""Are merge fields replaced, and nothing else, and is their misuse told before anything is sent?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content.merge_fields import (
    FIXED_CONTACT_FIELDS,
    USER_FIELDS,
    Field,
    Merge,
    address_part,
    header_text,
    html_text,
    known_names,
    plain_text,
    url_part,
    whole_url,
)
from content.problems import ContentProblemCode as Code
from content.problems import content_problems, subject_problems, template_problems
from store.merge_values import CONTACT_COLUMNS, USER_COLUMNS

KNOWN = known_names(["car"])
VALUES = {"contact.first_name": "Ann", "contact.last_name": "", "contact.city": None}
# Text that is rich in what fields are made of.
SOURCES = st.lists(st.sampled_from(["{{", "}}", "{", "}", "|", "a", " ", "\n", "a|b", "&amp;"])).map("".join)


@pytest.mark.parametrize(
    ("source", "rendered"),
    [
        ("Hi {{contact.first_name}}!", "Hi Ann!"),
        ("{{ \tcontact.first_name }}{{contact.first_name}}", "AnnAnn"),
        ("{{contact.first_name|you}}", "Ann"),
        ("{{contact.last_name|you}}", "you"),
        ("{{contact.city| dear you }}", " dear you "),
        ("{{contact.title|a|b}}", "a|b"),
        ("[{{contact.title}}]", "[]"),
        ("{{contact.first_name", "{{contact.first_name"),
        ("{{contact.first_name}", "{{contact.first_name}"),
        ("{{contact.\nfirst_name}}", "{{contact.\nfirst_name}}"),
        ("{{{contact.first_name}}}", "{Ann}"),
        ("{{ {{contact.first_name}}", "{{ Ann"),
        ("", ""),
    ],
)
def test_fields_are_replaced_and_all_else_is_literal(source: str, rendered: str) -> None:
    """A value, else the default, else nothing; what is no complete field on one line stays as it is."""
    assert Merge.of_text(source).rendered(VALUES, plain_text) == rendered


def test_fields_have_their_position() -> None:
    """The fields of a source are told with name, default and position."""
    assert Merge.of_text("Hi {{ a |b}}, {{c}}").fields == (Field("a", "b", 3), Field("c", "", 14))


def test_a_value_that_holds_a_field_stays_as_it_is() -> None:
    """Values are put in once and not read again."""
    assert Merge.of_text("{{a}}{{b}}").rendered({"a": "{{b}}", "b": "{{a}}"}, plain_text) == "{{b}}{{a}}"


@pytest.mark.parametrize(
    ("source", "rendered"),
    [
        ("{{a}}", "&lt;b&gt; &amp; &quot;&#x27;"),
        ("{{c|R&amp;D &lt;x&gt;}}", "R&amp;D &lt;x&gt;"),
        ("{{c|R&D <x>}}", "R&amp;D &lt;x&gt;"),
        ("<p>{{ d&amp;e }}</p>", "<p>1</p>"),
    ],
)
def test_html_values_and_defaults_are_text(source: str, rendered: str) -> None:
    """A default's entities are escaped once, and no markup comes from a value or a default."""
    assert Merge.of_html(source).rendered({"a": "<b> & \"'", "d&e": "1"}, html_text) == rendered


@pytest.mark.parametrize(
    "line_break", ["\r", "\n", "\r\n", "\0", "\v", "\f", "\x85", "\u2028", "\u2029", "\x1b", "\x7f"]
)
def test_headers_stay_on_one_line(line_break: str) -> None:
    """No value breaks a header: control characters and every line break of Unicode become a space."""
    assert header_text(f"a{line_break}Bcc: b") == "a Bcc: b"
    assert len(header_text(f"a{line_break}b").splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("https://x.example/u?a=1&b=%20#c", "https://x.example/u?a=1&b=%20#c"),
        ('https://x.example/"><i> é', "https://x.example/%22%3E%3Ci%3E%20%C3%A9"),
        ("javascript:alert(1)", ""),
        (" https://x.example/", ""),
        ("https:///x", ""),
        ("https://\\x", ""),
        ("", ""),
    ],
)
def test_whole_addresses_are_those_of_the_web(value: str, url: str) -> None:
    """What is put in for a whole address is http(s) with a host, or nothing."""
    assert whole_url(value) == url


def test_values_in_addresses_are_percent_encoded() -> None:
    """A value behind the host stays one value, and half a character does no harm."""
    assert url_part("a/b?c&d=e+f \ud800") == "a%2Fb%3Fc%26d%3De%2Bf%20%3F"
    assert address_part("+45 1@x?cc=y") == "+45%201@x%3Fcc%3Dy"


@given(SOURCES)
def test_a_source_is_put_together_as_it_was(source: str) -> None:
    """Literals and fields are the whole source: no character is lost or moved."""
    merge = Merge.of_text(source)
    for field, literal in zip(merge.fields, merge.literals[1:], strict=True):
        assert source.startswith("{{", field.position)
        assert source.startswith("}}" + literal, source.index("}}", field.position))
    assert source.startswith(merge.literals[0])
    assert len(merge.literals) == len(merge.fields) + 1


def test_known_names() -> None:
    """The fields are the contact's fixed and custom ones, its account's name, the user's and the unsubscribe link."""
    assert {"contact.date_of_birth", "contact.custom.car", "account.name", "user.job_title", "unsubscribe_url"} <= KNOWN
    assert not {"contact.custom.boat", "content", "subject", "contact.id", "user.password"} & KNOWN
    assert len(KNOWN) == 13 + 1 + 1 + 5 + 1


@pytest.mark.parametrize("name", ["7*7", "contact.custom.boat", "contact", "", "content", "subject", "Account.Name"])
def test_unknown_fields_are_told_once_each(name: str) -> None:
    """A field that is not known is a problem of subjects and contents alike, however often it stands there."""
    for problems in (subject_problems, content_problems):
        found = problems(f"{{{{{name}}}}} {{{{ {name} |x}}}} {{{{account.name}}}}", KNOWN)
        assert [problem.code for problem in found] == [Code.UNKNOWN_MERGE_FIELD]
        assert f"{{{{{name}}}}}" in found[0].message


@pytest.mark.parametrize(
    "content",
    [
        '<a href="{{unsubscribe_url}}">x</a>',
        '<a href=" {{ unsubscribe_url }}?a={{contact.city}}">x</a>',
        '<a href="https://x.example/{{contact.city|a "b" > c}}?n={{contact.custom.car}}">x</a>',
        '<a href="mailto:{{user.email}}?subject={{contact.city}}">x</a><a href="TEL:{{user.phone_number}}">y</a>',
        '<a href="#{{contact.city}}" title="{{contact.city}}">x</a><img alt=\'{{contact.city}}\'>',
        "<!-- {{contact.city}} --><title>{{contact.city}}</title>{{contact.city}} < {{contact.city}}",
        "a <b {{",
    ],
)
def test_fields_where_they_do_no_harm(content: str) -> None:
    """Text, quoted attributes and what stands behind a host, `mailto:` or `tel:` may hold fields."""
    assert content_problems(content, KNOWN) == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        *(
            (f'<a {name}="{{{{contact.city}}}}">', Code.MERGE_FIELD_IN_URL)
            for name in ("href", "SRC", "action", "formaction", "background", "poster", "srcset", "xlink:href")
        ),
        ('<a href="\n{{contact.city}}">', Code.MERGE_FIELD_IN_URL),
        ('<a href="java{{contact.city}}">', Code.MERGE_FIELD_IN_URL),
        ('<a href="https://{{contact.city}}/">', Code.MERGE_FIELD_IN_URL),
        ('<a href="https:///{{contact.city}}/">', Code.MERGE_FIELD_IN_URL),
        ('<a href="https://x.example{{contact.city}}/">', Code.MERGE_FIELD_IN_URL),
        ('<a href="https://x.example\\{{contact.city}}/">', Code.MERGE_FIELD_IN_URL),
        ('<a href="{{contact.city}}?{{contact.city}}">', Code.MERGE_FIELD_IN_URL),
        ('<a href="{{unsubscribe_url}}{{contact.city}}">', Code.MERGE_FIELD_IN_URL),
        ('<img src="{{unsubscribe_url}}">', Code.MERGE_FIELD_IN_URL),
        ('<p style="color:{{contact.city}}">', Code.MERGE_FIELD_IN_STYLE),
        ("<style>p{color:{{contact.city}} }</style>", Code.MERGE_FIELD_IN_STYLE),
        ("<STYLE></p>{{contact.city}}", Code.MERGE_FIELD_IN_STYLE),
        ("<script>'{{contact.city}}'</script>", Code.MERGE_FIELD_IN_STYLE),
        ("<{{contact.city}}>", None),
        ("<p{{contact.city}}>", Code.MERGE_FIELD_IN_TAG),
        ("<p {{contact.city}}=x>", Code.MERGE_FIELD_IN_TAG),
        ("<p title={{contact.city}}>", Code.MERGE_FIELD_IN_TAG),
        ("<a href={{unsubscribe_url}}>", Code.MERGE_FIELD_IN_TAG),
        ('<p ONclick="{{contact.city}}">', Code.MERGE_FIELD_IN_TAG),
    ],
)
def test_fields_where_they_do_harm(content: str, code: Code | None) -> None:
    """A field that could decide an address's scheme or host, or stand in code or a tag, is told once a kind."""
    assert [problem.code for problem in content_problems(content * 2, KNOWN)] == ([code] if code else [])


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("<h1>{{subject}}</h1>{{ content }}", []),
        ("<h1>{{subject}}</h1>", [Code.CONTENT_MISSING]),
        ("<!-- {{content}} -->", [Code.CONTENT_MISSING]),
        ("{{content}}{{content}}", [Code.CONTENT_REPEATED]),
        ('<p title="{{content}}">', [Code.CONTENT_MISPLACED]),
        ("<title>{{content}}</title>{{nothing}}", [Code.UNKNOWN_MERGE_FIELD, Code.CONTENT_MISPLACED]),
    ],
)
def test_templates_hold_the_content_once_in_their_text(template: str, found: list[Code]) -> None:
    """A template without a place for the content, with two, or with one in a tag, is told."""
    assert [problem.code for problem in template_problems(template, {*KNOWN, "subject"})] == found


def test_the_subject_is_known_where_the_caller_says_so() -> None:
    """Templates of letters have no subject."""
    assert [problem.code for problem in template_problems("{{content}}{{subject}}", KNOWN)] == [
        Code.UNKNOWN_MERGE_FIELD
    ]


def test_subjects_are_one_line() -> None:
    """A line break in a subject is told."""
    assert [problem.code for problem in subject_problems("a\u2028b", KNOWN)] == [Code.CONTROL_CHARACTER]


def test_the_number_of_fields_is_bounded() -> None:
    """More than a thousand fields are told, so that values cannot be multiplied without bound."""
    source = "{{contact.city}}" * 1_000
    assert content_problems(source, KNOWN) == []
    assert [problem.code for problem in content_problems(source + "{{contact.city}}", KNOWN)] == [
        Code.TOO_MANY_MERGE_FIELDS
    ]


def test_messages_stay_short() -> None:
    """The name of an unknown field is cut in the message, whatever its length."""
    (problem,) = content_problems("{{" + "x" * 100_000 + "}}", KNOWN)
    assert len(problem.message) < 100


def test_every_field_has_its_value() -> None:
    """The layers, which do not know each other, name the same fields: none can be written that is never filled in."""
    assert set(FIXED_CONTACT_FIELDS) == set(CONTACT_COLUMNS)
    assert set(USER_FIELDS) == set(USER_COLUMNS)

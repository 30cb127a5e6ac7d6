"""Which templates are refused, as they could do harm or could not be kept?"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from store.models import Field
from tests.build import TestCompany
from tests.campaign_documents import ERRORS, Desk, Input, broken_rules, but, desk_of_a_module
from tests.template_documents import COPY, CREATE, EMAIL, LETTER, SIDES, UPDATE, made, refused, stored

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def desk(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        yield desk


async def test_null_is_no_value(desk: Desk) -> None:
    """What every template has cannot be taken away; where there is a default null says no more than silence."""
    taken = {"title": None, "content": None}
    answer = await desk.ask(CREATE, input=but(LETTER, taken))
    assert answer.codes == ["GRAPHQL_VALIDATION_FAILED"] * 2
    template = await made(desk, CREATE, input=but(LETTER, {"campaign": None, "margins": None}))
    assert (template["campaign"], template["margins"]) == (True, dict.fromkeys(SIDES, 20))
    id = str(template["databaseId"])
    required = {"REQUIRED input.title", "REQUIRED input.content"}
    assert await refused(desk, UPDATE, id=id, input=taken) == required
    assert await made(desk, UPDATE, id=id, input={"campaign": None, "margins": {"top": None}}) == template


@pytest.mark.parametrize("side", SIDES)
async def test_margins_have_bounds(desk: Desk, side: str) -> None:
    """Each side has 0 to 200 millimetres, both included, when a letter is made and when it is changed."""
    id = await stored(desk, type="LETTER", **dict.fromkeys((f"margin_{each}" for each in SIDES), 20))
    for width in (-1, -0.001, 200.001, 1e308):
        margins = {"margins": {side: width}}
        assert await refused(desk, CREATE, input=but(LETTER, margins)) == {f"OUT_OF_RANGE input.margins.{side}"}
        assert await refused(desk, UPDATE, id=id, input=margins) == {f"OUT_OF_RANGE input.margins.{side}"}
    for width in (0, 200, 1e-9):
        template = await made(desk, UPDATE, id=id, input={"margins": {side: width}})
        assert template["margins"][side] == width


async def test_one_side_of_a_letter_without_margins(desk: Desk) -> None:
    """A side that is given to a letter which had none, as old ones have, is answered."""
    id = await stored(desk, type="LETTER")
    template = await made(desk, UPDATE, id=id, input={"margins": {"left": 7}})
    assert template["margins"] is not None
    assert template["margins"]["left"] == 7


async def test_margins_that_are_no_numbers(desk: Desk) -> None:
    """Neither NaN nor what is beyond every number becomes a margin, however it is written."""
    id, before = await stored(desk, type="LETTER"), await desk.tables()
    for width, codes in (("NaN", True), ("Infinity", True), ('"1"', True), ("1e999", False), ("-1e999", False)):
        document = f"mutation {{ updateTemplate(id: {id}, input: {{ margins: {{ top: {width} }} }}) {{ {ERRORS} }} }}"
        answer = await desk.ask(document)
        if codes:
            assert answer.codes == ["GRAPHQL_VALIDATION_FAILED"]
        else:
            assert broken_rules(answer.data["updateTemplate"]) == {"OUT_OF_RANGE input.margins.top"}
    assert sorted(await desk.tables()) == before


async def test_all_sides_are_judged_at_once(desk: Desk) -> None:
    """Four bad margins are four errors."""
    margins = dict.fromkeys(SIDES, 201)
    expected = {f"OUT_OF_RANGE input.margins.{side}" for side in SIDES}
    assert await refused(desk, CREATE, input=but(LETTER, {"margins": margins})) == expected


async def test_only_letters_have_margins(desk: Desk) -> None:
    """Margins of an e-mail are an error, and not something to be forgotten."""
    margins = {"margins": {"top": 10}}
    id = await stored(desk)
    assert await refused(desk, CREATE, input=but(EMAIL, margins)) == {"TEMPLATE_TYPE_MISMATCH input.margins"}
    assert await refused(desk, UPDATE, id=id, input=margins) == {"TEMPLATE_TYPE_MISMATCH input.margins"}


MISPLACED = {"MERGE_FIELD_MISPLACED input.content"}
UNKNOWN = {"UNKNOWN_MERGE_FIELD input.content"}
BROKEN_CONTENT = {
    "{{content}} {{7*7}}": UNKNOWN,
    "{{content}} {{contact.nope}}": UNKNOWN,
    "{{content}} {{contact.custom.nope}}": UNKNOWN,
    "{{content}} {{contact.__class__}}": UNKNOWN,
    "{{content}} {{constructor.constructor('x')()}}": UNKNOWN,
    "{{content}} {{}}": UNKNOWN,
    "{{content}} {{Contact.First_Name}}": UNKNOWN,
    "{{content}} {{user.password}}": UNKNOWN,
    "<p>Hello</p>": {"CONTENT_FIELD_MISSING input.content"},
    "<p>{{subject}}</p>": {"CONTENT_FIELD_MISSING input.content"},
    "<p>{ {content} }</p>": {"CONTENT_FIELD_MISSING input.content"},
    "{{content}}{{content}}": MISPLACED,
    "<p title='{{content}}'></p>": MISPLACED,
    "<style>{{content}}</style>": MISPLACED,
    "{{content}}<a href='{{contact.first_name}}'>x</a>": MISPLACED,
    "{{content}}<a href='https://{{contact.first_name}}/'>x</a>": MISPLACED,
    "{{content}}<img src='{{contact.first_name}}'>": MISPLACED,
    "{{content}}<p style='color: {{contact.first_name}}'>x</p>": MISPLACED,
    "{{content}}<style>p { color: {{contact.first_name}} }</style>": MISPLACED,
    "{{content}}<script>{{contact.first_name}}</script>": MISPLACED,
    "{{content}}<p onclick='{{contact.first_name}}'>x</p>": MISPLACED,
    "{{content}}<p {{contact.first_name}}>x</p>": MISPLACED,
    "{{content}}<p title={{contact.first_name}}>x</p>": MISPLACED,
    "<a href='{{contact.nope}}'>x</a>": {*UNKNOWN, *MISPLACED, "CONTENT_FIELD_MISSING input.content"},
}


@pytest.mark.parametrize("content", BROKEN_CONTENT)
async def test_merge_fields_that_do_harm(desk: Desk, content: str) -> None:
    """Unknown fields, and fields where their value would decide more than a text, are refused with the reason."""
    id = await stored(desk)
    assert await refused(desk, CREATE, input=but(EMAIL, {"content": content})) == BROKEN_CONTENT[content]
    assert await refused(desk, UPDATE, id=id, input={"content": content}) == BROKEN_CONTENT[content]


async def test_the_subject_is_of_emails(desk: Desk) -> None:
    """A letter has no subject to set in."""
    letter = but(LETTER, {"content": "{{subject}} {{content}}"})
    assert await refused(desk, CREATE, input=letter) == UNKNOWN
    id = await stored(desk, type="LETTER")
    assert await refused(desk, UPDATE, id=id, input={"content": letter["content"]}) == UNKNOWN
    assert await made(desk, CREATE, input=but(EMAIL, {"content": letter["content"]}))


async def test_custom_fields_are_the_companys(desk: Desk) -> None:
    """What the company has defined is known, what only another has, or only its accounts have, is not."""
    await desk.add(Field, desk.globex, name="boats", label="Boats", type="INTEGER", custom=True)
    known = but(EMAIL, {"content": "{{content}} {{contact.custom.cars}}"})
    assert await made(desk, CREATE, input=known)
    for name in ("boats", "industry", "planes"):
        content = {"content": f"{{{{content}}}} {{{{contact.custom.{name}}}}}"}
        assert await refused(desk, CREATE, input=but(EMAIL, content)) == UNKNOWN
    await desk.add(Field, name="planes", label="Planes", type="INTEGER", custom=True)
    assert await made(desk, CREATE, input=but(EMAIL, content))


LONG = "x" * 500_000
TEXTS: list[tuple[Input, set[str]]] = [
    ({"title": ""}, {"REQUIRED input.title"}),
    ({"title": " \u00a0"}, {"REQUIRED input.title"}),
    ({"title": "x" * 256}, {"TOO_LONG input.title"}),
    ({"title": "a\nb"}, {"INVALID_CHARACTER input.title"}),
    ({"title": "a\u2029b"}, {"INVALID_CHARACTER input.title"}),
    ({"content": ""}, {"REQUIRED input.content"}),
    ({"content": "{{content}}\x00"}, {"INVALID_CHARACTER input.content"}),
    ({"content": f"{{{{content}}}}{LONG}"}, {"TOO_LONG input.content"}),
    ({"title": "", "content": "", "teamId": "0"}, {f"REQUIRED input.{name}" for name in ("title", "content")}
        | {"NOT_FOUND input.teamId"}),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "errors"), TEXTS)
async def test_texts_that_cannot_be_kept(desk: Desk, changes: Input, errors: set[str]) -> None:
    """Titles are one line of 1 to 255 characters, contents have 1 to 500,000; all that is wrong is said at once."""
    assert await refused(desk, CREATE, input=but(EMAIL, changes)) == errors
    assert await refused(desk, UPDATE, id=await stored(desk), input=changes) == errors


async def test_longest_texts(desk: Desk) -> None:
    """What is just as long as it may be is kept whole, and its copy's title is cut to make room for the suffix."""
    content = "{{content}}" + LONG[: 500_000 - len("{{content}}")]
    template = await made(desk, CREATE, input=but(EMAIL, {"title": "å" * 255, "content": content}))
    assert (template["title"], template["content"]) == ("å" * 255, content)
    copy = await made(desk, COPY, id=str(template["databaseId"]))
    assert (copy["title"], copy["content"]) == ("å" * 248 + " - copy", content)

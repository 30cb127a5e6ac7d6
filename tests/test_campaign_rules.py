"""Is every rule of campaigns held wherever it applies, and no more than that?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from resolvers.changes.campaign_rules import RULES
from tests.build import TestCompany
from tests.campaign_documents import (
    COPY,
    CREATE,
    DELETE,
    EMAIL,
    PAST,
    SETTINGS,
    TASK,
    TEST_EMAIL,
    UPDATE,
    Desk,
    Input,
    as_update,
    broken_rules,
    but,
    desk_of_a_module,
)
from tests.campaign_rule_table import AT_ONCE, LETTER, SAVING, TABLE, UNFIT, Case, Line, Way

pytestmark = pytest.mark.anyio

DOCUMENTS = {
    Way.CREATE: CREATE,
    Way.TRY: CREATE,
    Way.UPDATE: UPDATE,
    Way.TEST: TEST_EMAIL,
    Way.COPY: COPY,
    Way.DELETE: DELETE,
    Way.SETTINGS: SETTINGS,
}
# The rules of the domain that are about making and changing campaigns, and the settings that they need.
# Rules that no input of a campaign breaks, and where each is tested.
ELSEWHERE = {"10": "test_test_emails.py", "12": "test_pages.py", "16": "test_preview_mutations.py"}
# How letters are announced and had: they are not made yet.
NOT_YET = {"15"}
DOMAIN_RULES = {str(number) for number in range(1, 18)} - ELSEWHERE.keys() - NOT_YET


@pytest.fixture(scope="module")
async def shared_desk(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        yield desk


def applies(line: Line, way: Way) -> bool:
    """Updates know no executeNow, and test mails are made of e-mails only."""
    cases = [case for case in (line.broken, line.passes) if case is not None]
    if way is Way.UPDATE:
        return not any("executeNow" in case.given for case in cases)
    return way is not Way.TEST or all(case.given.get("type", "EMAIL") == "EMAIL" for case in cases)


def lines() -> list[object]:
    return [
        pytest.param(line, way, id=f"{line.rule}: {line.name}, {way.value}")
        for line in TABLE
        for way in line.ways
        if applies(line, way)
    ]


async def variables_of(desk: Desk, case: Case, way: Way) -> Input:
    """What the mutation is given; a campaign to change is made first."""
    if way in (Way.UPDATE, Way.COPY, Way.DELETE):
        campaign_id = await desk.campaign(case.author or case.role, **case.stored)
        return {"id": campaign_id, "input": as_update(case.given)} if way is Way.UPDATE else {"id": campaign_id}
    if way is Way.SETTINGS:
        await desk.stop_all()
        if case.stored:
            await desk.campaign(**case.stored)
    return {"input": case.given, "dryRun": True} if way is Way.TRY else {"input": case.given}


@pytest.mark.parametrize(("line", "way"), lines())
async def test_rule(shared_desk: Desk, line: Line, way: Way) -> None:
    """What breaks a rule is answered with all that is wrong and changes no table; what just passes is done."""
    if line.broken is not None:
        await check_refused(shared_desk, line, line.broken, way)
    await check_done(shared_desk, line, way)


async def check_refused(desk: Desk, line: Line, case: Case, way: Way) -> None:
    await desk.set_domain(**case.domain)
    variables = await variables_of(desk, case, way)
    before = await desk.tables()
    answer = await desk.ask(DOCUMENTS[way], case.role, **variables)
    if line.errors == UNFIT:
        assert answer.codes == [UNFIT]
    else:
        (payload,) = answer.data.values()
        assert broken_rules(payload) == set(line.errors.split("; "))
        assert [value for name, value in payload.items() if name != "userErrors" and value] == []
    assert await desk.tables() == before


async def check_done(desk: Desk, line: Line, way: Way) -> None:
    case = line.passes
    await desk.set_domain(**case.domain)
    variables = await variables_of(desk, case, way)
    before = await desk.tables()
    payload = await desk.payload(DOCUMENTS[way], case.role, **variables)
    assert broken_rules(payload) == set()
    if way is Way.TRY:
        assert payload["campaign"] is None
        assert await desk.tables() == before
    elif way in (Way.CREATE, Way.UPDATE, Way.COPY):
        assert payload["campaign"]["status"] == line.status
    elif way is Way.TEST:
        assert [delivery["status"] for delivery in payload["testDeliveries"]] == ["QUEUED"]


def test_every_rule_has_a_line() -> None:
    """The table has a line, and a case that breaks it, for each rule of the rule book and of the domain."""
    assert all((Path(__file__).parent / name).exists() for name in ELSEWHERE.values())
    assert {line.rule for line in TABLE} >= DOMAIN_RULES | {rule.number for rule in RULES}
    assert {line.rule for line in TABLE if line.broken} >= (DOMAIN_RULES - {"11"}) | {rule.number for rule in RULES}


EIGHT_WRONG = {
    "name": " ",
    "type": "EMAIL",
    "message": {"content": "{{contact.nose}}", "sender": "news@elsewhere.example"},
    "templateId": "$letter_template",
    "sendAt": PAST,
    "scope": "TEAM",
    "task": {**TASK, "relationsPathId": "$their_path", "endAt": "2026-12-02 09:00:00"},
    "filter": {"json": {}},
}


@pytest.mark.parametrize("way", SAVING, ids=lambda way: way.value)
async def test_all_that_is_wrong_comes_at_once(shared_desk: Desk, way: Way) -> None:
    """An input that breaks rules 1, 2, 3, 4, 5, 6 (twice), 14 and those of merge fields and scope is told of all."""
    await shared_desk.set_domain()
    variables = await variables_of(shared_desk, Case(EIGHT_WRONG), way)
    assert broken_rules(await shared_desk.payload(DOCUMENTS[way], **variables)) == {
        "REQUIRED input.name",
        "REQUIRED input.message.subject",
        "REQUIRED input.filter",
        "TEMPLATE_TYPE_MISMATCH input.templateId",
        "NOT_IN_FUTURE input.sendAt",
        "NOT_FOUND input.task.relationsPathId",
        "NOT_AFTER input.task.endAt",
        "SENDER_NOT_OF_DOMAIN input.message.sender",
        "UNKNOWN_MERGE_FIELD input.message.content",
        "REQUIRED input.teamId",
    }


async def test_what_cannot_be_read_is_not_missing_too(shared_desk: Desk) -> None:
    """A time, an id or a filter that cannot be read is told once, beside what else is wrong."""
    await shared_desk.set_domain()
    unreadable = but(
        EMAIL,
        {
            "name": "",
            "sendAt": "soon",
            "scope": "TEAM",
            "teamId": "x",
            "filter": {"json": [{"field": "contact.nose", "operator": "eq"}]},
        },
    )
    assert broken_rules(await shared_desk.payload(CREATE, input=unreadable)) == {
        "REQUIRED input.name",
        "INVALID_TIME input.sendAt",
        "NOT_FOUND input.teamId",
        "INVALID_FILTER input.filter.json.0",
        "UNKNOWN_FIELD input.filter.json.0.field",
    }


async def test_settings_that_are_not_there(shared_desk: Desk) -> None:
    """A company without settings makes no campaign, and can after it has chosen a slug."""
    await shared_desk.stop_all()
    await shared_desk.run("DELETE FROM campaign_settings WHERE company_id = :id", id=shared_desk.acme.id)
    refused = await shared_desk.payload(CREATE, input=EMAIL)
    assert broken_rules(refused) == {"DOMAIN_MISSING input"}
    settings = await shared_desk.payload(SETTINGS, input={"domainSlug": "acme"})
    assert broken_rules(settings) == set()
    assert (await shared_desk.made(CREATE, input=EMAIL))["status"] == "PENDING"


async def test_slug_for_campaigns_that_wait(shared_desk: Desk) -> None:
    """A company whose domain the operators took away chooses its first slug, also while campaigns wait for one."""
    await shared_desk.set_domain(slug=None)
    await shared_desk.campaign(status="PENDING")
    assert broken_rules(await shared_desk.payload(SETTINGS, input={"domainSlug": "acme"})) == set()


async def test_all_that_is_wrong_with_a_test_mail_comes_at_once(shared_desk: Desk) -> None:
    """What is wrong with the addresses and the contact of a test mail is told with what is wrong with the input."""
    await shared_desk.set_domain()
    payload = await shared_desk.payload(
        TEST_EMAIL, input=but(LETTER, {"name": ""}), emails=["nobody"], contactId="nobody"
    )
    assert broken_rules(payload) == {
        "REQUIRED input.name",
        "NOT_AN_EMAIL input.type",
        "INVALID_EMAIL emails.0",
        "NOT_FOUND contactId",
    }


async def test_missing_scope_comes_with_the_rest(shared_desk: Desk) -> None:
    """That a token may not send is told with what else is wrong with the input."""
    await shared_desk.set_domain()
    token = await shared_desk.token("admin", "READ", "WRITE")
    payload = await shared_desk.payload(CREATE, token, input=but(EMAIL, {**AT_ONCE, "name": ""}))
    assert broken_rules(payload) == {"REQUIRED input.name", "FORBIDDEN input.executeNow"}


async def test_token_scopes_of_new_campaigns(shared_desk: Desk) -> None:
    """createCampaign takes WRITE, with executeNow SEND too; sendTestEmail takes SEND."""
    reading, writing = await shared_desk.token("admin", "READ"), await shared_desk.token("admin", "READ", "WRITE")
    at_once = {**EMAIL, "executeNow": True}
    before = await shared_desk.tables()
    assert (await shared_desk.ask(CREATE, reading, input=EMAIL)).codes == ["FORBIDDEN"]
    assert (await shared_desk.ask(TEST_EMAIL, writing, input=EMAIL)).codes == ["FORBIDDEN"]
    for dry_run in (False, True):
        payload = await shared_desk.payload(CREATE, writing, input=at_once, dryRun=dry_run)
        assert broken_rules(payload) == {"FORBIDDEN input.executeNow"}
    assert await shared_desk.tables() == before
    assert (await shared_desk.made(CREATE, writing, input={**EMAIL, "executeNow": False}))["status"] == "PENDING"
    both = await shared_desk.token("admin", "READ", "WRITE", "SEND")
    assert (await shared_desk.made(CREATE, both, input=at_once))["status"] == "SENDING"

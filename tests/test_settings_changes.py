"""Are the settings changed by administrators alone, as they were given, and into nothing that cannot send?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import anyio
import pytest

from store.models import Template
from tests.build import NOW, TestCompany
from tests.campaign_documents import CREATE, EMAIL, ERRORS, Desk, Input, broken_rules, desk_of_a_module, desk_over
from tests.conftest import World

pytestmark = pytest.mark.anyio

SETTINGS = """
  id domain domainSlug domainSlugSuffix defaultSender
  consent { enable unsubscribeUrl subscribeUrl subject content helpText template { databaseId } }
"""
READ = f"{{ campaignSettings {{ {SETTINGS} updatedAt }} }}"
UPDATE = f"""
mutation ($input: CampaignSettingsInput!) {{
  updateCampaignSettings(input: $input) {{ campaignSettings {{ {SETTINGS} }} {ERRORS} }}
}}
"""
URL = "https://acme.example/bye?c=1&d=%20#top"


@pytest.fixture(scope="module")
async def shared(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        yield desk


@pytest.fixture
async def desk(shared: Desk) -> Desk:
    """Acme has the slug `acme`, no domain, and no page of its own."""
    await shared.set_domain()
    return shared


async def made(desk: Desk, input: Input, role: str = "admin") -> Any:
    """The settings as the mutation and whoever asks afterwards answer them."""
    found = await desk.payload(UPDATE, role, input=input)
    assert found["userErrors"] == []
    read = (await desk.ask(READ)).data["campaignSettings"]
    assert {**found["campaignSettings"], "updatedAt": read["updatedAt"]} == read
    return found["campaignSettings"]


async def refused(desk: Desk, input: Input, role: str = "admin") -> set[str]:
    """Why it is refused; nothing has changed then."""
    before = await desk.tables()
    found = await desk.payload(UPDATE, role, input=input)
    assert found["campaignSettings"] is None
    assert await desk.tables() == before
    return broken_rules(found)


@pytest.mark.parametrize("slug", ["a", "0", "a1-b", "x" * 63, "xn--rsted-vua"])
async def test_slugs(desk: Desk, slug: str) -> None:
    """A slug is a label of a domain name, and what campaigns come from."""
    settings = await made(desk, {"domainSlug": slug})
    assert settings["domainSlug"] == slug
    assert settings["defaultSender"] == f"noreply@{slug}.campaigns.example"


NO_SLUGS = [
    "", " ", "-", "-a", "a-", "a.b", "a_b", "Acme", "å", "a b", " a", "a\n", "a\r\nb", "a\x00", "x" * 64, "a@b", "а",
]  # fmt: skip


@pytest.mark.parametrize("slug", NO_SLUGS, ids=ascii)
async def test_what_is_no_slug(desk: Desk, slug: str) -> None:
    """What could be no label of a domain name (RFC 1123, 2.1), or another spelling of one, is refused."""
    assert await refused(desk, {"domainSlug": slug}) == {"INVALID_DOMAIN_SLUG input.domainSlug"}


async def test_taken_slug(desk: Desk) -> None:
    """Another company's slug is DUPLICATE, and nothing else of the request is kept; one's own may be said again."""
    given = {"domainSlug": "globex", "consent": {"enable": True, "unsubscribeUrl": URL}}
    assert await refused(desk, given) == {"DUPLICATE input.domainSlug"}
    assert (await made(desk, {"domainSlug": "acme"}))["domainSlug"] == "acme"


async def test_slug_that_two_want(desk: Desk) -> None:
    """Of two companies that ask for one slug at once one gets it, and the other reads that it is taken."""
    theirs = desk.globex.tokens["admin"]
    for attempt in range(5):
        slug = f"wanted-{attempt}"
        answers = await at_once(
            asking(desk, {"domainSlug": slug}),
            asking(desk, {"domainSlug": slug}, theirs),
        )
        assert sorted(len(answer["userErrors"]) for answer in answers) == [0, 1]
        assert set.union(*map(broken_rules, answers)) == {"DUPLICATE input.domainSlug"}
    assert (await desk.payload(UPDATE, theirs, input={"domainSlug": "globex"}))["userErrors"] == []


def asking(desk: Desk, input: Mapping[str, object], role: str = "admin") -> Callable[[], Awaitable[Any]]:
    return lambda: desk.payload(UPDATE, role, input=input)


async def at_once(*asked: Callable[[], Awaitable[Any]]) -> list[Any]:
    found: list[Any] = []

    async def keep(one: Callable[[], Awaitable[Any]]) -> None:
        found.append(await one())

    async with anyio.create_task_group() as tasks:
        for one in asked:
            tasks.start_soon(keep, one)
    return found


@pytest.mark.parametrize("slug", ["www", "mail", "postmaster", "webmaster"])
async def test_reserved_slugs(desk: Desk, slug: str) -> None:
    """Names that hosts or offices of a domain have by custom are nobody's."""
    assert await refused(desk, {"domainSlug": slug}) == {"INVALID_DOMAIN_SLUG input.domainSlug"}


@pytest.mark.parametrize("status", ["PENDING", "SENDING"])
async def test_slug_in_use(desk: Desk, status: str) -> None:
    """While e-mails are still to go out from its domain a slug stays; what does not come from it does not matter."""
    await desk.campaign(status="DRAFT", send_at=NOW)
    await desk.campaign(status=status, send_at=NOW, type="LETTER")
    await made(desk, {"domainSlug": "free"})
    campaign = await desk.campaign(status=status, send_at=NOW)
    assert await refused(desk, {"domainSlug": "other"}) == {"IN_USE input.domainSlug"}
    await made(desk, {"domainSlug": "free", "consent": {"helpText": "Help"}})
    await desk.set_domain(domain="mail.acme.example", slug="free")
    await made(desk, {"domainSlug": "other"})
    await desk.run("UPDATE campaigns SET status = 'CANCELED' WHERE id = :id", id=campaign)


async def test_no_slug_without_a_domain(desk: Desk) -> None:
    """The slug stays as long as there is nothing else to send from."""
    assert await refused(desk, {"domainSlug": None}) == {"REQUIRED input.domainSlug"}


async def test_no_slug_with_a_domain(desk: Desk) -> None:
    """A company with a domain of its own needs no slug; another may take it then."""
    await desk.set_domain(domain="mail.acme.example")
    settings = await made(desk, {"domainSlug": None})
    assert (settings["domainSlug"], settings["defaultSender"]) == (None, "noreply@mail.acme.example")
    theirs = desk.globex.tokens["admin"]
    assert (await desk.payload(UPDATE, theirs, input={"domainSlug": "acme"}))["userErrors"] == []
    assert (await desk.payload(UPDATE, theirs, input={"domainSlug": "globex"}))["userErrors"] == []


async def test_domain_wins_over_slug(desk: Desk) -> None:
    """Rule 14: a slug beside a domain does not change where mails come from, for campaigns neither."""
    await desk.set_domain(domain="mail.acme.example")
    settings = await made(desk, {"domainSlug": "other"})
    assert (settings["domainSlug"], settings["defaultSender"]) == ("other", "noreply@mail.acme.example")
    for sender, errors in (("a@other.campaigns.example", {"SENDER_NOT_OF_DOMAIN input.message.sender"}),
                           ("a@mail.acme.example", set())):  # fmt: skip
        campaign = {**EMAIL, "message": {**EMAIL["message"], "sender": sender}}
        assert broken_rules(await desk.payload(CREATE, input=campaign, dryRun=True)) == errors


async def test_domain_is_the_operators(desk: Desk) -> None:
    """No input takes a domain or a suffix."""
    for name in ("domain", "domainSlugSuffix"):
        answer = await desk.ask(UPDATE, input={"domainSlug": "acme", name: "evil.example"})
        assert answer.codes == ["GRAPHQL_VALIDATION_FAILED"]


NO_URL = {"REQUIRED input.consent.unsubscribeUrl"}
CONSENTS: list[tuple[Input, set[str]]] = [
    ({"enable": True}, NO_URL),
    ({"enable": True, "unsubscribeUrl": None}, NO_URL),
    ({"custom": True}, NO_URL),
    ({"enable": True, "unsubscribeUrl": " "}, {"INVALID_URL input.consent.unsubscribeUrl"} | NO_URL),
    ({"enable": False}, set()),
    ({"enable": True, "unsubscribeUrl": URL}, set()),
    ({"custom": True, "unsubscribeUrl": URL}, set()),
    ({"unsubscribeUrl": URL}, set()),
    ({}, set()),
]


@pytest.mark.parametrize(("consent", "errors"), CONSENTS)
async def test_enabled_with_a_page_only(desk: Desk, consent: Input, errors: set[str]) -> None:
    """Rule 14: the company's own page is enabled only with its URL; `custom` is the old name of `enable`."""
    if errors:
        assert await refused(desk, {"consent": consent}) == errors
        return
    settings = await made(desk, {"consent": consent})
    assert settings["consent"]["enable"] is bool(consent.get("enable", consent.get("custom")))
    assert settings["consent"]["unsubscribeUrl"] == consent.get("unsubscribeUrl")


async def test_the_new_name_wins(desk: Desk) -> None:
    """A client that sends both names is understood by the one that stays."""
    given = {"enable": False, "custom": True, "unsubscribeUrl": URL}
    assert (await made(desk, {"consent": given}))["consent"]["enable"] is False


async def test_a_page_that_is_needed_stays(desk: Desk) -> None:
    """While the page is enabled its URL can be changed and not taken away, unless both go together."""
    await made(desk, {"consent": {"enable": True, "unsubscribeUrl": URL}})
    assert await refused(desk, {"consent": {"unsubscribeUrl": None}}) == NO_URL
    assert (await made(desk, {"consent": {"unsubscribeUrl": "http://b.example"}}))["consent"]["enable"] is True
    settings = await made(desk, {"consent": {"enable": False, "unsubscribeUrl": None}})
    assert (settings["consent"]["enable"], settings["consent"]["unsubscribeUrl"]) == (False, None)


NO_URLS = {
    "acme.example/bye": "INVALID_URL",
    "javascript:alert(1)": "INVALID_URL",
    "data:text/html,x": "INVALID_URL",
    "//acme.example": "INVALID_URL",
    "https://": "INVALID_URL",
    "https://user:secret@acme.example": "INVALID_URL",
    "https://[::1": "INVALID_URL",
    'https://acme.example/"onclick="x': "INVALID_URL",
    "https://acme.example/a b": "INVALID_URL",
    "https://acme.example/\r\nX: y": "INVALID_CHARACTER",
    "https://acme.example/\u2028": "INVALID_CHARACTER",
    "https://acme.example/\x00": "INVALID_CHARACTER",
    "https://acme.example/" + "x" * 2000: "TOO_LONG",
}


@pytest.mark.parametrize("url", NO_URLS, ids=lambda url: ascii(url[:30]))
async def test_what_is_no_url(desk: Desk, url: str) -> None:
    """What a reader of a mail could not follow, or should not, is refused for both addresses."""
    given = {"unsubscribeUrl": url, "subscribeUrl": url}
    expected = {f"{NO_URLS[url]} input.consent.{name}" for name in given}
    assert await refused(desk, {"consent": given}) == expected


async def test_deprecated_fields_still_work(desk: Desk) -> None:
    """What the old API could set is kept and answered, changed one by one, and taken away by null."""
    old: Input = {"subscribeUrl": URL, "subject": "Consent", "content": "<p>\nYes?</p>", "helpText": "Say yes."}
    consent = (await made(desk, {"consent": {**old, "templateId": "$template"}}))["consent"]
    template = {"databaseId": int(desk.names["$template"])}
    assert {name: consent[name] for name in (*old, "template")} == {**old, "template": template}
    consent = (await made(desk, {"consent": {"subject": None}}))["consent"]
    assert {name: consent[name] for name in (*old, "template")} == {**old, "subject": None, "template": template}
    consent = (await made(desk, {"consent": dict.fromkeys((*old, "templateId"))}))["consent"]
    assert {consent[name] for name in (*old, "template")} == {None}


@pytest.mark.parametrize("name", ["subject", "content", "helpText"])
async def test_texts_that_cannot_be_kept(desk: Desk, name: str) -> None:
    """10,000 characters and no more, none of which is NUL."""
    assert (await made(desk, {"consent": {name: "å" * 10_000}}))["consent"][name] == "å" * 10_000
    assert await refused(desk, {"consent": {name: "x" * 10_001}}) == {f"TOO_LONG input.consent.{name}"}
    assert await refused(desk, {"consent": {name: "a\x00"}}) == {f"INVALID_CHARACTER input.consent.{name}"}


async def test_templates_of_the_company_only(desk: Desk) -> None:
    """A template that is another company's, or nobody's, is NOT_FOUND."""
    for id in ("$their_template", "2000000000", "x", ""):
        assert await refused(desk, {"consent": {"templateId": id}}) == {"NOT_FOUND input.consent.templateId"}


async def test_all_errors_at_once(desk: Desk) -> None:
    """One request says all that is wrong with it."""
    consent = {"enable": True, "subscribeUrl": "x", "content": "\x00", "templateId": "x"}
    assert await refused(desk, {"domainSlug": "A", "consent": consent}) == {
        "INVALID_DOMAIN_SLUG input.domainSlug",
        "INVALID_URL input.consent.subscribeUrl",
        "INVALID_CHARACTER input.consent.content",
        "NOT_FOUND input.consent.templateId",
        "REQUIRED input.consent.unsubscribeUrl",
    }


@pytest.mark.parametrize("role", ["manager", "member"])
async def test_administrators_only(desk: Desk, role: str) -> None:
    """Nobody else changes settings, whatever they send."""
    for given in ({}, {"domainSlug": "mine"}, {"domainSlug": "-"}, {"consent": {"templateId": "$their_template"}}):
        assert await refused(desk, given, role) == {"FORBIDDEN"}


async def test_what_is_absent_stays(desk: Desk) -> None:
    """An update of one value leaves all others, and those of other companies."""
    before = await made(desk, {"consent": {"enable": True, "unsubscribeUrl": URL, "helpText": "Help"}})
    theirs = await desk.gateway.ask(READ, desk.globex.tokens["admin"])
    after = await made(desk, {"consent": {"helpText": "Other"}})
    assert after == {**before, "consent": {**before["consent"], "helpText": "Other"}}
    assert await made(desk, {}) == after
    assert (await desk.gateway.ask(READ, desk.globex.tokens["admin"])).data == theirs.data


async def test_first_settings(world: World) -> None:
    """A company without settings gets them with its first change, under the suffix that the operators set."""
    async with desk_over(world, campaign_domain_suffix="post.example") as desk:
        await desk.run("DELETE FROM campaign_settings WHERE company_id = :id", id=desk.acme.id)
        assert (await desk.ask(READ)).data == {"campaignSettings": None}
        assert await refused(desk, {"domainSlug": "-"}) == {"INVALID_DOMAIN_SLUG input.domainSlug"}
        assert await refused(desk, {"domainSlug": None}) == {"REQUIRED input.domainSlug"}
        slugs = ("one", "two", "three")
        answers = await at_once(*(asking(desk, {"domainSlug": slug}) for slug in slugs))
        assert [answer["userErrors"] for answer in answers] == [[]] * 3
        settings = await made(desk, {"domainSlug": "globex"})
        assert settings["defaultSender"] == "noreply@globex.post.example"
        assert len(await desk.run("SELECT 1 FROM campaign_settings WHERE company_id = :id", id=desk.acme.id)) == 1


async def test_changes_at_once(desk: Desk) -> None:
    """Two administrators who change different values at once both get what they wanted."""
    for attempt in range(5):
        inputs: list[Input] = [
            {"domainSlug": f"at-once-{attempt}"},
            {"consent": {"enable": True, "unsubscribeUrl": f"https://acme.example/{attempt}"}},
            {"consent": {"helpText": f"Help {attempt}"}},
        ]
        answers = await at_once(*(asking(desk, input) for input in inputs))
        assert [answer["userErrors"] for answer in answers] == [[]] * 3
        settings = await made(desk, {})
        assert settings["domainSlug"] == f"at-once-{attempt}"
        assert settings["consent"]["unsubscribeUrl"] == f"https://acme.example/{attempt}"
        assert settings["consent"]["helpText"] == f"Help {attempt}"


async def test_the_rule_holds_against_two(desk: Desk) -> None:
    """Of one who enables the page and one who takes its URL away at once the second is refused."""
    for _ in range(5):
        await made(desk, {"consent": {"enable": False, "unsubscribeUrl": URL}})
        inputs: list[Input] = [{"consent": {"enable": True}}, {"consent": {"unsubscribeUrl": None}}]
        answers = await at_once(*(asking(desk, input) for input in inputs))
        assert set.union(*map(broken_rules, answers)) == NO_URL


async def test_no_template_in_a_hidden_team(desk: Desk) -> None:
    """Administrators see every team's templates, so each may be chosen."""
    id = str(await desk.add(Template, user_id=desk.acme.manager, team_id=int(desk.names["$support"])))
    consent = (await made(desk, {"consent": {"templateId": id}}))["consent"]
    assert consent["template"] == {"databaseId": int(id)}

"""Is everyone whom a campaign would reach counted once, and everyone else for the reason that comes first?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from store.audience import Audience, ExclusionReason, audience_counts, audience_samples, included_contacts
from store.models import CampaignType, Contact, Suppression
from tests import filter_oracle as oracle
from tests.filter_world import ACME, GLOBEX, PEOPLE, checked

pytestmark = pytest.mark.anyio
pytest_plugins = ["tests.filter_databases"]

EMAIL, LETTER, TELEPHONE = CampaignType
WITHDRAWN, MISSING, NO_ADDRESS, SUPPRESSED, DUPLICATE = ExclusionReason
HERE = [{"field": "contact.fixed_fields.salutation", "operator": "eq", "value": "here"}]
CONSENT = {EMAIL: "email_consent_given", LETTER: "letter_consent_given", TELEPHONE: "call_consent_given"}
AUDIENCES = st.lists(st.tuples(st.sampled_from(CampaignType), oracle.FILTERS), min_size=4, max_size=6)

ROWS = {person.row["id"]: person.row for person in PEOPLE}
Counts = list[dict[ExclusionReason | None, int]]


def email(row: oracle.Row) -> str | None:
    written = (row["email"] or "").lower()
    return written.strip(" \t\r\n") if "@" in written[1:-1] else None


def letter(row: oracle.Row) -> str | None:
    if not (row["address"] and (row["zip_code"] or row["city"])):
        return None
    lines = ("first_name", "last_name", "address", "zip_code", "city", "state_region", "country")
    return "\n".join(row[line].lower() for line in lines if row[line])


def telephone(row: oracle.Row) -> str | None:
    numbers = [row["mobile_phone_number"] or "", row["landline_phone_number"] or ""]
    return next((re.sub(r"[^0-9+]", "", number) for number in numbers if re.search(r"[0-9]", number)), None)


ADDRESSES: dict[CampaignType, Callable[[oracle.Row], str | None]] = {EMAIL: email, LETTER: letter, TELEPHONE: telephone}
# By which they are reached; letters have several lines, which are read when they are written.
WRITTEN: dict[CampaignType, Callable[[oracle.Row], str | None]] = {
    EMAIL: lambda row: str(row["email"]).strip(" \t\r\n"),
    LETTER: lambda row: None,
    TELEPHONE: telephone,
}
GONE = sorted({address for person in PEOPLE if (address := email(person.row))})[::3]


def verdicts(type: CampaignType, asked: oracle.Json) -> dict[UUID, ExclusionReason | None]:
    """Of everyone that the filter selects, the newest first."""
    found: dict[UUID, ExclusionReason | None] = {}
    taken: set[str] = set()
    chosen = [person.row for person in PEOPLE if oracle.selected(asked, person)]
    for row in sorted(chosen, key=lambda row: (row["created_at"], row["id"])):
        address = ADDRESSES[type](row)
        if row[CONSENT[type]] is not True:
            found[row["id"]] = MISSING if row[CONSENT[type]] is None else WITHDRAWN
        elif address is None:
            found[row["id"]] = NO_ADDRESS
        elif type is EMAIL and address in GONE:
            found[row["id"]] = SUPPRESSED
        else:
            found[row["id"]] = DUPLICATE if address in taken else None
            taken.add(address)
    return dict(reversed(found.items()))


async def counted(connection: AsyncConnection, audiences: Sequence[Audience]) -> Counts:
    found: Counts = [{} for _ in audiences]
    for row in await connection.execute(audience_counts(ACME, audiences)):
        assert row.contacts > 0
        reason = None if row.reason is None else ExclusionReason(row.reason)
        assert reason not in found[row.position]
        found[row.position][reason] = row.contacts
    return found


async def sampled(connection: AsyncConnection, audiences: Sequence[Audience], size: int) -> list[list[UUID]]:
    found: list[list[UUID]] = [[] for _ in audiences]
    for row in await connection.execute(audience_samples(ACME, audiences, size)):
        found[row.position].append(row.contact_id)
    return found


@pytest.mark.parametrize("connection_of", ["acme", "unbound"])
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(AUDIENCES)
async def test_audiences_are_what_the_rules_say(
    connection_of: str, acme: AsyncConnection, unbound: AsyncConnection, asked: list[tuple[CampaignType, oracle.Json]]
) -> None:
    """Counts, samples and the contacts to reach agree with the rules for several audiences at once, also where
    another company's rows are seen.
    """
    connection = acme if connection_of == "acme" else unbound
    savepoint = await connection.begin_nested()
    await suppress(connection, ACME, *GONE)
    if connection is unbound:
        await suppress(connection, GLOBEX, *(email(person.row) or "" for person in PEOPLE))
    audiences = [Audience(type, checked(filter)) for type, filter in asked]
    expected = [verdicts(type, filter) for type, filter in asked]
    reached = [[id for id, reason in found.items() if reason is None] for found in expected]
    assert await counted(connection, audiences) == [Counter(found.values()) for found in expected]
    assert await sampled(connection, audiences, 3) == [ids[:3] for ids in reached]
    for audience, ids in list(zip(audiences, reached, strict=True))[:2]:
        included = (await connection.execute(included_contacts(ACME, audience))).all()
        assert {row.contact_id: row.address for row in included} == {id: WRITTEN[audience.type](ROWS[id]) for id in ids}
    await savepoint.rollback()


async def suppress(connection: AsyncConnection, company_id: int, *addresses: str) -> None:
    rows = [{"company_id": company_id, "address": each, "reason": "BOUNCED"} for each in sorted(set(addresses))]
    await connection.execute(insert(cast("Table", Suppression.__table__)), rows)


async def outcome(
    connection: AsyncConnection, type: CampaignType, rows: Sequence[oracle.Row]
) -> list[ExclusionReason | None]:
    """What becomes of new contacts, in the order given, which is that of their ids; all are created at once."""
    defaults = {"salutation": "here", "created_at": oracle.TIMES[0], CONSENT[type]: True}
    audience = Audience(type, checked(HERE))
    savepoint = await connection.begin_nested()
    found: list[ExclusionReason | None] = []
    before: Counter[ExclusionReason | None] = Counter()
    for number, row in enumerate(rows):
        values = {"company_id": ACME, "id": UUID(int=5000 + number), **defaults, **row}
        await connection.execute(insert(cast("Table", Contact.__table__)).values(values))
        now = Counter((await counted(connection, [audience]))[0])
        (added,) = (now - before).elements()
        found.append(added)
        before = now
    await savepoint.rollback()
    return found


LINES = {"first_name": "Ada", "last_name": "Byron", "address": "Street 1", "zip_code": "8000", "city": "Aarhus"}


@pytest.mark.parametrize(
    ("type", "row", "reason"),
    [
        (EMAIL, {"email": "ada@example.com"}, None),
        (EMAIL, {"email": "a@b"}, None),
        (EMAIL, {"email": "ada@example.com", "email_consent_given": False}, WITHDRAWN),
        (EMAIL, {"email": "ada@example.com", "email_consent_given": None}, MISSING),
        (EMAIL, {"email": "ada@example.com", "letter_consent_given": False, "call_consent_given": False}, None),
        (EMAIL, {"email_consent_given": False}, WITHDRAWN),
        (EMAIL, {"email_consent_given": None}, MISSING),
        (EMAIL, {}, NO_ADDRESS),
        (EMAIL, {"email": ""}, NO_ADDRESS),
        (EMAIL, {"email": "ada"}, NO_ADDRESS),
        (EMAIL, {"email": "@example.com"}, NO_ADDRESS),
        (EMAIL, {"email": "ada@"}, NO_ADDRESS),
        (EMAIL, {"mobile_phone_number": "1", **LINES}, NO_ADDRESS),
        (LETTER, LINES, None),
        (LETTER, {**LINES, "zip_code": None}, None),
        (LETTER, {**LINES, "city": ""}, None),
        (LETTER, {"address": "Street 1", "city": "Aarhus"}, None),
        (LETTER, {**LINES, "letter_consent_given": False}, WITHDRAWN),
        (LETTER, {**LINES, "letter_consent_given": None}, MISSING),
        (LETTER, {**LINES, "address": None}, NO_ADDRESS),
        (LETTER, {**LINES, "address": ""}, NO_ADDRESS),
        (LETTER, {**LINES, "zip_code": None, "city": ""}, NO_ADDRESS),
        (TELEPHONE, {"mobile_phone_number": "+45 20 10"}, None),
        (TELEPHONE, {"landline_phone_number": "20 10"}, None),
        (TELEPHONE, {"mobile_phone_number": "none", "landline_phone_number": "20 10"}, None),
        (TELEPHONE, {"mobile_phone_number": "1", "call_consent_given": False}, WITHDRAWN),
        (TELEPHONE, {"mobile_phone_number": "1", "call_consent_given": None}, MISSING),
        (TELEPHONE, {"mobile_phone_number": "", "landline_phone_number": None}, NO_ADDRESS),
        (TELEPHONE, {"mobile_phone_number": "+", "landline_phone_number": "none"}, NO_ADDRESS),
    ],
)
async def test_contact_is_reached_or_not(
    type: CampaignType, row: oracle.Row, reason: ExclusionReason | None, acme: AsyncConnection
) -> None:
    """A selected contact is reached by the channel's consent and address, or left out for the first reason."""
    assert await outcome(acme, type, [row]) == [reason]


@pytest.mark.parametrize(
    ("type", "first", "second", "same"),
    [
        (EMAIL, {"email": "Ada@Example.com"}, {"email": "aDA@example.COM"}, True),
        (EMAIL, {"email": "ada@example.com"}, {"email": " ada@example.com\r\n"}, True),
        (EMAIL, {"email": "ada@example.com"}, {"email": "ada@example.org"}, False),
        (LETTER, LINES, {line: text.upper() for line, text in LINES.items()}, True),
        (LETTER, {**LINES, "country": None}, {**LINES, "country": ""}, True),
        (LETTER, LINES, {**LINES, "first_name": "Ida"}, False),
        (LETTER, LINES, {**LINES, "address": "Street 2"}, False),
        (LETTER, LINES, {**LINES, "country": "Denmark"}, False),
        (TELEPHONE, {"mobile_phone_number": "+45 20-10"}, {"mobile_phone_number": "+45 (20) 10"}, True),
        (TELEPHONE, {"mobile_phone_number": "20 10"}, {"landline_phone_number": "2010"}, True),
        (TELEPHONE, {"mobile_phone_number": "+20 10"}, {"mobile_phone_number": "20 10"}, False),
    ],
)
async def test_address_is_reached_once(
    type: CampaignType, first: oracle.Row, second: oracle.Row, same: bool, acme: AsyncConnection
) -> None:
    """Of contacts with the same address the earlier is reached, however the address is written."""
    later = {**second, "created_at": oracle.TIMES[1]}
    assert await outcome(acme, type, [first, later]) == [None, DUPLICATE if same else None]


@pytest.mark.parametrize(
    ("type", "row", "address"),
    [
        (EMAIL, {"email": " Ada@Example.COM\r\n"}, "Ada@Example.COM"),
        (LETTER, LINES, None),
        (TELEPHONE, {"mobile_phone_number": "none", "landline_phone_number": "+45 (20) 10-"}, "+452010"),
    ],
)
async def test_address_is_as_it_is_used(
    type: CampaignType, row: oracle.Row, address: str | None, acme: AsyncConnection
) -> None:
    """An e-mail address keeps its letters, a number loses all that is not dialled, a letter's lines are read later."""
    savepoint = await acme.begin_nested()
    values = {"company_id": ACME, "id": UUID(int=5000), "salutation": "here", CONSENT[type]: True, **row}
    await acme.execute(insert(cast("Table", Contact.__table__)).values(values))
    included = (await acme.execute(included_contacts(ACME, Audience(type, checked(HERE))))).all()
    assert [(each.contact_id, each.address) for each in included] == [(UUID(int=5000), address)]
    await savepoint.rollback()


GONE_ADDRESS = "gone@example.com"


@pytest.mark.parametrize(
    ("type", "row", "reason"),
    [
        (EMAIL, {"email": GONE_ADDRESS}, SUPPRESSED),
        (EMAIL, {"email": " Gone@EXAMPLE.com\t"}, SUPPRESSED),
        (EMAIL, {"email": GONE_ADDRESS, "email_consent_given": False}, WITHDRAWN),
        (EMAIL, {"email": GONE_ADDRESS, "email_consent_given": None}, MISSING),
        (EMAIL, {"email": "begone@example.com"}, None),
        (EMAIL, {"email": ""}, NO_ADDRESS),
        (LETTER, {**LINES, "email": GONE_ADDRESS}, None),
        (TELEPHONE, {"mobile_phone_number": "2010", "email": GONE_ADDRESS}, None),
        (TELEPHONE, {"mobile_phone_number": "none", "email": GONE_ADDRESS}, NO_ADDRESS),
    ],
)
async def test_suppressed_address_is_not_mailed_to(
    type: CampaignType, row: oracle.Row, reason: ExclusionReason | None, acme: AsyncConnection
) -> None:
    """However it is written; consent is looked at first; other channels do not know of it, and all who have it are
    left out for that reason, not as duplicates.
    """
    savepoint = await acme.begin_nested()
    await suppress(acme, ACME, GONE_ADDRESS, "2010")
    assert await outcome(acme, type, [row]) == [reason]
    if reason is SUPPRESSED:
        other = {"email": "ada@example.com"}
        assert await outcome(acme, type, [row, other, row, other]) == [SUPPRESSED, None, SUPPRESSED, DUPLICATE]
    await savepoint.rollback()
    assert await outcome(acme, type, [row]) == [None if reason is SUPPRESSED else reason]


async def test_who_is_not_reached_takes_no_address(acme: AsyncConnection) -> None:
    """An earlier contact without consent, or one that the filter does not select, keeps no one from being reached."""
    row = {"email": "ada@example.com"}
    without = [{**row, "email_consent_given": consent} for consent in (False, None)]
    elsewhere = {**row, "salutation": "elsewhere"}
    assert await outcome(acme, EMAIL, [*without, row, row]) == [WITHDRAWN, MISSING, None, DUPLICATE]
    savepoint = await acme.begin_nested()
    early = {**elsewhere, "company_id": ACME, "email_consent_given": True}
    await acme.execute(insert(cast("Table", Contact.__table__)).values(early))
    assert await outcome(acme, EMAIL, [row]) == [None]
    await savepoint.rollback()


async def test_of_contacts_created_at_once_the_smaller_id_is_reached(acme: AsyncConnection) -> None:
    """Which of two is the duplicate does not depend on the order in which they are stored."""
    audience = Audience(EMAIL, checked(HERE))
    savepoint = await acme.begin_nested()
    for number in (8, 7, 9):
        values = {"company_id": ACME, "id": UUID(int=5000 + number), "salutation": "here", "email": "a@b"}
        times = {"created_at": oracle.TIMES[0] + timedelta(days=number == 9)}
        row = {**values, **times, "email_consent_given": True}
        await acme.execute(insert(cast("Table", Contact.__table__)).values(row))
    assert await sampled(acme, [audience], 5) == [[UUID(int=5007)]]
    assert await counted(acme, [audience]) == [{None: 1, DUPLICATE: 2}]
    await savepoint.rollback()


async def test_audience_of_nobody_has_no_rows(acme: AsyncConnection) -> None:
    """A filter that selects nobody yields no counts and no sample, and the others keep their positions."""
    nobody = Audience(EMAIL, checked(HERE))
    everybody = Audience(EMAIL, checked([{"field": "contact.b2c", "operator": "exists", "value": True}]))
    counts = await counted(acme, [nobody, everybody, nobody])
    assert counts[0] == counts[2] == {}
    assert sum(counts[1].values()) == len(PEOPLE)
    samples = await sampled(acme, [nobody, everybody, nobody], 1)
    assert [len(ids) for ids in samples] == [0, 1, 0]

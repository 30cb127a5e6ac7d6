"""Who lives in the companies that filters are tried on, and how do they come into a database?"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from store.filters import Catalogue, Filter, read_filter
from store.models import Account, Base, Company, Contact, ContactList, ContactListMember, Team, User
from tests import filter_oracle as oracle

ACME, GLOBEX = 1, 2
PEOPLE = oracle.population(seed=1, size=150)
STRANGERS = oracle.population(seed=2, size=200)
CATALOGUE = Catalogue.of(oracle.DEFINITIONS, oracle.ZONE)


def checked(given: oracle.Json, catalogue: Catalogue = CATALOGUE) -> Filter:
    """The filter, which is a good one."""
    reading = read_filter(given, catalogue)
    assert reading.problems == ()
    assert reading.filter is not None
    return reading.filter


async def fill(connection: AsyncConnection, company_id: int, people: Sequence[oracle.Person]) -> None:
    """A company with these people, their accounts, lists, teams and users."""

    async def add(model: type[Base], rows: Sequence[oracle.Row]) -> None:
        await connection.execute(insert(model), [{"company_id": company_id, **row} for row in rows])

    # Ids of users are unique over all companies.
    users = (
        {id: 100 * company_id + id for id in oracle.USERS} if company_id != ACME else {id: id for id in oracle.USERS}
    )
    accounts = {person.account["id"]: person.account for person in people if person.account}
    user = {"first_name": "Ada", "last_name": "Byron"}
    await connection.execute(insert(Company), [{"id": company_id, "name": "C", "time_zone": oracle.ZONE.key}])
    await add(Account, list(accounts.values()))
    await add(Team, [{"id": id, "name": "T"} for id in oracle.TEAMS])
    await add(User, [{"id": id, "email": f"{id}@x", **user} for id in users.values()])
    await add(ContactList, [{"id": id, "name": "L"} for id in oracle.LISTS])
    await add(Contact, [{**person.row, "user_id": users.get(person.row["user_id"])} for person in people])
    members = [{"list_id": id, "contact_id": person.row["id"]} for person in people for id in sorted(person.lists)]
    await add(ContactListMember, members)

"""Who sees which rows of a company that has campaigns and templates of every kind, with all that hangs on them?"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from resolvers import global_ids
from store.database import owner_transaction
from store.models import (
    Base,
    Campaign,
    CampaignMessage,
    CampaignSettings,
    CampaignTask,
    CampaignTaskUser,
    Company,
    Contact,
    DeliveryReport,
    Export,
    File,
    Group,
    Recipient,
    RelationsPath,
    Team,
    TeamMember,
    Template,
    User,
)
from tests.build import NOW, Builder

# Sales and field are the teams of the group nordics, support is in no group, and nobody is in field or in south.
TEAMS = {"sales": "nordics", "field": "nordics", "support": None}
VIEWERS = {
    "admin": ("ADMIN", None),
    "manager": ("MANAGER", "sales"),
    "member": ("MEMBER", "support"),
    "new": ("MANAGER", None),
}
# The types of which not everyone in the company sees all rows.
LIMITED = ("Campaign", "Template", "Recipient", "CampaignMessage", "CampaignTask", "DeliveryReport", "Export", "File")
EVERYONE = "admin manager member new"


@dataclass(frozen=True)
class Case:
    """A campaign (or a template, which has no scope) and who sees it."""

    name: str
    scope: str
    author: str
    team: str | None
    group: str | None
    seen_by: str


CAMPAIGNS = [
    Case("global", "GLOBAL", "admin", None, None, EVERYONE),
    Case("global, of others", "GLOBAL", "admin", "field", "south", EVERYONE),
    Case("sales", "TEAM", "admin", "sales", None, "admin manager"),
    Case("support", "TEAM", "admin", "support", None, "admin member"),
    Case("field", "TEAM", "admin", "field", None, "admin"),
    Case("field, by member", "TEAM", "member", "field", None, "admin member"),
    Case("field, group aside", "TEAM", "admin", "field", "nordics", "admin"),
    Case("nordics", "GROUP", "admin", None, "nordics", "admin manager"),
    Case("nordics, team aside", "GROUP", "admin", "support", "nordics", "admin manager"),
    Case("south", "GROUP", "admin", None, "south", "admin"),
    Case("south, by new", "GROUP", "new", "sales", "south", "admin new"),
    Case("personal", "PERSONAL", "manager", None, None, "admin manager"),
    Case("personal, of all", "PERSONAL", "admin", "sales", "nordics", "admin"),
    Case("personal, in support", "PERSONAL", "new", "support", "nordics", "admin new"),
]
TEMPLATES = [
    Case("everyone's", "", "admin", None, None, EVERYONE),
    Case("sales", "", "admin", "sales", None, "admin manager"),
    Case("support", "", "admin", "support", None, "admin member"),
    Case("nordics", "", "admin", None, "nordics", "admin manager"),
    Case("support or nordics", "", "admin", "support", "nordics", "admin manager member"),
    Case("south", "", "admin", None, "south", "admin"),
    Case("field, by new", "", "new", "field", "south", "admin new"),
]


@dataclass
class House:
    """A company with the cases in it: tokens by viewer, and the keys of the rows by type and case (or name)."""

    id: int = 0
    tokens: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def add(self, build: Builder, model: type[Base], known_as: str, **values: object) -> Any:
        """Inserts a row of the company."""
        key = await build.add(model, company_id=self.id, **values)
        self.rows.setdefault(model.__name__, {})[known_as] = key
        return key

    def key(self, typename: str, name: str | None) -> Any:
        return None if name is None else self.rows[typename][name]

    def ids(self, typename: str) -> dict[str, str]:
        return {name: global_ids.encode(typename, key) for name, key in self.rows[typename].items()}

    def names(self, typename: str, keys: list[Any]) -> list[str]:
        """The cases (sorted) whose rows have these `databaseId`s."""
        cases = {str(key): name for name, key in self.rows[typename].items()}
        return sorted(cases[str(key)] for key in keys)


def campaigns_seen_by(viewer: str) -> list[Case]:
    return [case for case in CAMPAIGNS if viewer in case.seen_by.split()]


def sees(viewer: str, typename: str, name: str) -> bool:
    """Whether the viewer sees a row: those of a case as the tables say, all others always."""
    cases = {"Template": TEMPLATES}.get(typename, CAMPAIGNS) if typename in LIMITED else []
    return all(viewer in case.seen_by.split() for case in cases if case.name == name)


def template_of(case: Case) -> str:
    """The templates are dealt out to the campaigns, so that each is used by some that others see."""
    return TEMPLATES[CAMPAIGNS.index(case) % len(TEMPLATES)].name


async def build_house(url: str) -> House:
    async with owner_transaction(url) as connection:
        build = Builder(connection)
        house = House(await build.add(Company))
        await add_people(build, house)
        await add_templates(build, house)
        await house.add(build, RelationsPath, "path")
        await house.add(build, Contact, "contact")
        await house.add(build, Export, "first", requested_by_id=house.rows["User"]["new"], status="EXPIRED")
        for case in CAMPAIGNS:
            await add_campaign(build, house, case)
            await add_delivery(build, house, case)
            await add_exports(build, house, case)
    return house


async def add_people(build: Builder, house: House) -> None:
    for group in ("nordics", "south"):
        await house.add(build, Group, group)
    for team, group_or_none in TEAMS.items():
        await house.add(build, Team, team, group_id=house.key("Group", group_or_none))
    for viewer, (role, team_or_none) in VIEWERS.items():
        user_id = await house.add(build, User, viewer, role=role)
        house.tokens[viewer] = await build.token(house.id, user_id)
        if team_or_none is not None:
            team_id = house.key("Team", team_or_none)
            await build.add(TeamMember, company_id=house.id, team_id=team_id, user_id=user_id)


def owners(house: House, case: Case) -> dict[str, object]:
    return {
        "user_id": house.key("User", case.author),
        "team_id": house.key("Team", case.team),
        "group_id": house.key("Group", case.group),
    }


async def add_templates(build: Builder, house: House) -> None:
    for case in TEMPLATES:
        await house.add(build, Template, case.name, **owners(house, case))
    await build.add(CampaignSettings, company_id=house.id, consent_template_id=house.key("Template", "south"))


async def add_campaign(build: Builder, house: House, case: Case) -> None:
    await house.add(
        build,
        Campaign,
        case.name,
        **owners(house, case),
        scope=case.scope,
        name=f"Campaign {case.name}",
        message_subject=f"Subject <{case.name}>",
        template_id=house.key("Template", template_of(case)),
        task_distribution_strategy="DISTRIBUTE",
        task_relations_path_id=house.key("RelationsPath", "path"),
        task_start_at=NOW,
        task_end_at=NOW + timedelta(1),
    )


async def add_delivery(build: Builder, house: House, case: Case) -> None:
    campaign_id = house.key("Campaign", case.name)
    author = house.key("User", case.author)
    await build.add(CampaignTaskUser, company_id=house.id, campaign_id=campaign_id, user_id=author, position=0)
    contact_id = house.key("Contact", "contact")
    recipient_id = await house.add(build, Recipient, case.name, campaign_id=campaign_id, contact_id=contact_id)
    await house.add(build, CampaignMessage, case.name, id=recipient_id)
    await house.add(build, DeliveryReport, case.name, campaign_id=campaign_id, recipient_id=recipient_id)
    # The author's, who sees the campaign.
    own = {"campaign_id": campaign_id, "recipient_id": recipient_id, "user_id": author}
    await house.add(build, CampaignTask, case.name, **own, start_at=NOW, end_at=NOW + timedelta(1))


async def add_exports(build: Builder, house: House, case: Case) -> None:
    """The campaign's export with its file, and one that repeats it and is of no campaign."""
    await house.add(build, File, case.name)
    await house.add(
        build,
        Export,
        case.name,
        status="COMPLETED",
        requested_by_id=house.key("User", case.author),
        campaign_id=house.key("Campaign", case.name),
        file_id=house.key("File", case.name),
        regenerated_from_id=house.key("Export", "first"),
    )
    await house.add(
        build,
        Export,
        f"again {case.name}",
        requested_by_id=house.key("User", "member"),
        regenerated_from_id=house.key("Export", case.name),
    )

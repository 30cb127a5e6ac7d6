"""What of the company do the rules have to know, and which of the rows that a change names may the viewer use?"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import ARRAY, Boolean, Integer, Uuid, any_, bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from content.merge_fields import known_names
from resolvers import global_ids
from resolvers.changes.campaign_drafts import CampaignDraft, CampaignGiven, FilterReference
from resolvers.changes.campaign_rules import Facts
from resolvers.contacts import ACCOUNT, CONTACT_LIST
from resolvers.context import Viewer
from resolvers.people import TEAM, USER
from resolvers.sources import Source, array_of
from store import access
from store.filters import CATALOGUE_ROWS, Catalogue
from store.models import (
    CampaignSettings,
    CampaignType,
    Group,
    RelationsPath,
    Role,
    Team,
    Template,
    TemplateType,
    User,
)
from store.sender_domain import SENDER_DOMAIN
from store.sql_types import AnyRow

CUSTOM_FIELD = "contact.custom_fields."
IDS: dict[str, Source] = {source.typename: source for source in (ACCOUNT, USER, TEAM, CONTACT_LIST)}
FIND_SENDER_DOMAIN = select(SENDER_DOMAIN).where(access.of_company(CampaignSettings.company_id))
FACTS = select(
    select(Template.type)
    .where(
        access.of_company(Template.company_id),
        or_(access.templates(), bindparam("template_kept", type_=Boolean())),
        Template.id == bindparam("template_id", type_=Integer()),
    )
    .scalar_subquery()
    .label("template_type"),
    select(Team.id)
    .where(access.of_company(Team.company_id), Team.id == bindparam("team_id", type_=Integer()))
    .exists()
    .label("team_found"),
    select(Group.id)
    .where(access.of_company(Group.company_id), Group.id == bindparam("group_id", type_=Integer()))
    .exists()
    .label("group_found"),
    select(RelationsPath.id)
    .where(access.of_company(RelationsPath.company_id), RelationsPath.id == bindparam("path_id", type_=Uuid()))
    .exists()
    .label("path_found"),
    func.array(
        select(User.id)
        .where(access.of_company(User.company_id), User.id == any_(bindparam("user_ids", type_=ARRAY(Integer()))))
        .scalar_subquery()
    ).label("user_ids"),
)


def read_id(typename: str, text: str) -> global_ids.Key | None:
    """The key that an id in a filter names, global or raw."""
    return IDS[typename].parse_or_none(text)


def catalogue_of(rows: list[AnyRow]) -> Catalogue:
    return Catalogue.of_rows(rows, read_id)


async def find_catalogue(session: AsyncSession, viewer: Viewer) -> Catalogue:
    """The fields that the company's filters may name, and its time zone."""
    rows = await session.execute(CATALOGUE_ROWS, {"company_id": viewer.company_id})
    return catalogue_of(list(rows.all()))


async def find_sender_domain(session: AsyncSession, viewer: Viewer, *, hold: bool = False) -> str | None:
    """The domain that the company's mails come from: its own before the one of its slug (rule 14).

    With `hold` it stays so until the unit of work ends: whoever changes the slug waits, and then finds the campaign.
    """
    statement = FIND_SENDER_DOMAIN.with_for_update(read=True, key_share=True) if hold else FIND_SENDER_DOMAIN
    domain: str | None = await session.scalar(statement, viewer.identity.scope.parameters())
    return domain


def merge_fields_of(catalogue: Catalogue) -> frozenset[str]:
    """The names that `{{…}}` may hold in a message."""
    names = (path.removeprefix(CUSTOM_FIELD) for path in catalogue.fields if path.startswith(CUSTOM_FIELD))
    return known_names(name for name in names if not name.startswith("id."))


async def find_facts(
    session: AsyncSession,
    viewer: Viewer,
    draft: CampaignDraft,
    given: CampaignGiven,
    catalogue: Catalogue,
    *,
    now: datetime,
) -> Facts:
    """What the rules have to know of a draft that a client wrote.

    The sender's domain is one statement, and held; the rows that the draft names are another, and those that its
    filter names one for each type.

    The template, team and group that the client did not write are the campaign's already: whoever may change it need
    not be able to see them.
    """
    task = draft.task
    parameters: dict[str, object] = {
        **viewer.identity.scope.parameters(),
        "template_id": draft.template_id,
        "template_kept": "template_id" not in given,
        "team_id": draft.team_id,
        "group_id": draft.group_id,
        "path_id": None if task is None else task.relations_path_id,
        "user_ids": [] if task is None else [user_id for user_id in task.user_ids if user_id is not None],
    }
    row = (await session.execute(FACTS, parameters)).one()
    scope = viewer.identity.scope
    everywhere = viewer.identity.role is Role.ADMIN
    return Facts(
        now=now,
        sender_domain=await find_sender_domain(session, viewer, hold=True),
        merge_fields=merge_fields_of(catalogue),
        template_type=None if row.template_type is None else TemplateType(row.template_type),
        team_found=row.team_found,
        group_found=row.group_found,
        path_found=row.path_found,
        user_ids=frozenset(row.user_ids),
        filter_rows=await find_filter_rows(session, viewer, draft.references),
        own_team_ids=None if everywhere or "team_id" not in given else frozenset(scope.team_ids),
        own_group_ids=None if everywhere or "group_id" not in given else frozenset(scope.group_ids),
    )


async def find_filter_rows(
    session: AsyncSession, viewer: Viewer, references: Iterable[FilterReference]
) -> set[tuple[str, object]]:
    """Which of the rows that a new filter names are there, as type and key."""
    wanted: dict[str, set[object]] = {}
    for reference in references:
        wanted.setdefault(reference.typename, set()).add(reference.key)
    found: set[tuple[str, object]] = set()
    for typename, keys in wanted.items():
        found |= {(typename, key) for key in await find_rows(session, viewer, IDS[typename], keys)}
    return found


async def find_rows(session: AsyncSession, viewer: Viewer, source: Source, keys: Collection[object]) -> set[object]:
    """The keys of which there is a row that the viewer may see."""
    wanted_keys = bindparam("wanted_keys", list(keys), type_=array_of(source.key_column))
    there = select(source.key_column).where(source.visible(), source.key_column == any_(wanted_keys))
    return set(await session.scalars(there, viewer.identity.scope.parameters()))


def facts_of_stored(draft: CampaignDraft, catalogue: Catalogue, sender_domain: str | None, now: datetime) -> Facts:
    """What the rules have to know of a stored campaign: that its references are there is held by the database."""
    by_mail = draft.type is not CampaignType.TELEPHONE
    task_user_ids = () if draft.task is None else draft.task.user_ids
    return Facts(
        now=now,
        sender_domain=sender_domain,
        merge_fields=merge_fields_of(catalogue),
        template_type=TemplateType(draft.type.value) if by_mail else None,
        team_found=True,
        group_found=True,
        path_found=True,
        user_ids=frozenset(user_id for user_id in task_user_ids if user_id is not None),
    )

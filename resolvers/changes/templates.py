"""How is a template made, changed, copied and deleted, and which rules does it keep?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypedDict

from sqlalchemy import delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from content.merge_fields import SUBJECT
from content.problems import template_problems
from resolvers.changes.aside import aside
from resolvers.changes.campaign_life import UNDER_WAY
from resolvers.changes.campaign_rules import LONGEST_CONTENT, content_errors, is_missing, own_or_absent, required
from resolvers.changes.campaigns import copied_name
from resolvers.changes.company import find_catalogue, merge_fields_of
from resolvers.changes.idempotency import Request, claim, keep_answer
from resolvers.changes.outcomes import Outcome, named_key, not_found
from resolvers.changes.user_errors import Refused, UserError, UserErrorCode, line_errors, refused, text_errors
from resolvers.context import Context, Viewer
from resolvers.people import GROUP, TEAM
from resolvers.templates import TEMPLATE
from store import access
from store.models import Campaign, Group, Role, Team, Template, TemplateType
from store.signals import Channel, signal
from store.sql_types import AnyRow

LONGEST_TITLE = 255
WIDEST_MARGIN = 200.0
USUAL_MARGIN = 20.0
SIDES = ("top", "right", "bottom", "left")
COPIED_COLUMNS = (
    "company_id",
    "type",
    "campaign",
    "content",
    "team_id",
    "group_id",
    *(f"margin_{side}" for side in SIDES),
)


class MarginsGiven(TypedDict, total=False):
    """Millimetres; a side that is left out keeps what it has, or gets the usual margin."""

    top: float
    right: float
    bottom: float
    left: float


class TemplateGiven(TypedDict, total=False):
    """What a client wrote of a template; what they left out is not here. The type is given when it is made."""

    type: TemplateType
    title: str
    content: str
    campaign: bool
    margins: MarginsGiven
    team_id: str | None
    group_id: str | None


async def create_template(context: Context, given: TemplateGiven, *, idempotency_key: str | None) -> Outcome:
    """A new template of the viewer; the same key makes it once."""
    viewer = context.viewer
    async with context.writing() as session:
        claimed = await claim(session, viewer, Request("createTemplate", given, idempotency_key))
        if claimed is not None and claimed.answer is not None:
            return Outcome(tuple(int(key) for key in claimed.answer))
        values = await checked(session, viewer, given["type"], {"title": "", "content": "", **given})
        made = insert(Template).values(company_id=viewer.company_id, user_id=viewer.user_id, **values)
        template_id = (await session.execute(made.returning(Template.id))).scalar_one()
        await keep_answer(session, viewer, claimed, [str(template_id)])
    return Outcome((template_id,))


async def update_template(context: Context, id: str, given: TemplateGiven) -> Outcome:
    """What is given changes, what is absent stays; campaigns that are still to be sent use it as it is then."""
    viewer = context.viewer
    async with context.writing() as session:
        row = await locked(session, viewer, id)
        refuse_strangers(row, viewer)
        values = await checked(session, viewer, TemplateType(row.type), given)
        await session.execute(
            update(Template)
            .where(Template.company_id == viewer.company_id, Template.id == row.id)
            .values({**values, "updated_at": func.now()})
        )
    return Outcome((row.id,))


async def copy_template(context: Context, id: str, *, idempotency_key: str | None) -> Outcome:
    """A template like this one, by the viewer."""
    viewer = context.viewer
    async with context.writing() as session:
        claimed = await claim(session, viewer, Request("copyTemplate", {"id": id}, idempotency_key))
        if claimed is not None and claimed.answer is not None:
            return Outcome(tuple(int(key) for key in claimed.answer))
        row = await locked(session, viewer, id)
        copied = select(
            *(TEMPLATE.columns[name] for name in COPIED_COLUMNS),
            literal(copied_name(row.title, LONGEST_TITLE)),
            literal(viewer.user_id),
        ).where(access.of_company(Template.company_id), Template.id == row.id)
        made = insert(TEMPLATE.table).from_select([*COPIED_COLUMNS, "title", "user_id"], copied)
        parameters = viewer.identity.scope.parameters()
        template_id = (await session.execute(made.returning(TEMPLATE.key_column), parameters)).scalar_one()
        await keep_answer(session, viewer, claimed, [str(template_id)])
    return Outcome((template_id,))


async def delete_template(context: Context, id: str) -> Outcome:
    """Refused while a campaign that is scheduled or under way is set in it; all others lose it, and say so."""
    viewer = context.viewer
    async with context.writing() as session:
        row = await locked(session, viewer, id)
        refuse_strangers(row, viewer)
        # Locked, so that none is approved or scheduled between being looked at and losing its template.
        using = select(Campaign.status).where(Campaign.company_id == viewer.company_id, Campaign.template_id == row.id)
        statuses = (await session.scalars(using.order_by(Campaign.id).with_for_update())).all()
        if count := sum(status in UNDER_WAY for status in statuses):
            message = f"{count} scheduled campaign{'s use' if count > 1 else ' uses'} this template."
            raise refused(["id"], UserErrorCode.IN_USE, message)
        # Who saw a campaign with the template must not approve it without.
        losing = (
            update(Campaign)
            .where(Campaign.company_id == viewer.company_id, Campaign.template_id == row.id)
            .values(template_id=None, template_deleted=True, version=Campaign.version + 1, updated_at=func.now())
        )
        changed = (await session.scalars(losing.returning(Campaign.id))).all()
        await signal(session, Channel.CAMPAIGNS, viewer.company_id, *changed)
        await session.execute(delete(Template).where(Template.company_id == viewer.company_id, Template.id == row.id))
    return Outcome((row.id,))


async def locked(session: AsyncSession, viewer: Viewer, id: str) -> AnyRow:
    """The template as it is now, which nobody else changes until the unit of work ends; raises NOT_FOUND."""
    key = named_key(TEMPLATE, id, "id")
    wanted = select(Template.id, Template.user_id, Template.type, Template.title).where(
        access.templates(), Template.id == key
    )
    row = (await session.execute(wanted.with_for_update(), viewer.identity.scope.parameters())).one_or_none()
    if row is None:
        raise not_found(TEMPLATE, "id")
    return row


def refuse_strangers(row: AnyRow, viewer: Viewer) -> None:
    """Members change what they wrote; managers and administrators all that they see."""
    if viewer.identity.role is Role.MEMBER and row.user_id != viewer.user_id:
        raise refused(["id"], UserErrorCode.FORBIDDEN, "Members may change templates of their own only.")


async def checked(
    session: AsyncSession, viewer: Viewer, type: TemplateType, given: TemplateGiven
) -> Mapping[str, object]:
    """The columns that hold what was given; raises `Refused` with all that is wrong with it."""
    known = merge_fields_of(await find_catalogue(session, viewer))
    if type is TemplateType.EMAIL:
        known |= {SUBJECT}
    places, errors = await checked_places(session, viewer, given)
    errors += await aside(len(given.get("content", "")), lambda: list(text_problems(given, known)))
    errors += margin_problems(type, given)
    if errors:
        raise Refused(error.below("input") for error in errors)
    named: Mapping[str, object] = given
    plain = {name: named[name] for name in ("title", "content", "campaign") if name in named}
    if "type" in given:
        plain["type"] = type
    has_margins = "margins" in given or ("type" in given and type is TemplateType.LETTER)
    return {**plain, **places, **(margin_values(given) if has_margins else {})}


def margin_values(given: TemplateGiven) -> dict[str, object]:
    """All four columns: a letter has either every margin or none."""
    margins: Mapping[str, object] = given.get("margins", {})
    new = "type" in given
    usual: dict[str, object] = {
        side: USUAL_MARGIN if new else func.coalesce(TEMPLATE.columns[f"margin_{side}"], USUAL_MARGIN) for side in SIDES
    }
    return {f"margin_{side}": margins.get(side, usual[side]) for side in SIDES}


def text_problems(given: TemplateGiven, known: frozenset[str]) -> Iterator[UserError]:
    title, content = given.get("title"), given.get("content")
    if title is not None:
        if is_missing(title):
            yield required("title")
        yield from line_errors(("title",), title, LONGEST_TITLE)
    if content is not None:
        unkept = text_errors(("content",), content, LONGEST_CONTENT)
        yield from unkept
        if is_missing(content):
            yield required("content")
        elif not unkept:
            yield from content_errors(template_problems(content, known), ("content",))


def margin_problems(type: TemplateType, given: TemplateGiven) -> Iterator[UserError]:
    margins = given.get("margins")
    if margins is None:
        return
    if type is not TemplateType.LETTER:
        yield UserError(("margins",), UserErrorCode.TEMPLATE_TYPE_MISMATCH, "Only letters have margins.")
    for side, width in margins.items():
        if not isinstance(width, float) or not math.isfinite(width) or not 0 <= width <= WIDEST_MARGIN:
            message = f"A margin is between 0 and {WIDEST_MARGIN:g} millimetres."
            yield UserError(("margins", side), UserErrorCode.OUT_OF_RANGE, message)


async def checked_places(
    session: AsyncSession, viewer: Viewer, given: TemplateGiven
) -> tuple[dict[str, object], list[UserError]]:
    """The team and the group that were named; one may use one's own, administrators all."""
    found: dict[str, object] = {}
    errors: list[UserError] = []
    scope = viewer.identity.scope
    places = (
        ("team_id", "teamId", TEAM, Team, scope.team_ids),
        ("group_id", "groupId", GROUP, Group, scope.group_ids),
    )
    for column, name, source, model, own in places:
        if column not in given:
            continue
        text = given[column]  # type: ignore[literal-required]  # both are keys of it
        parsed = None if text is None else source.parse_or_none(text)
        key = parsed if isinstance(parsed, int) else None if text is None else 0  # No row has 0.
        found[column] = key
        if key is not None:
            there = await session.scalar(
                select(func.count()).where(model.company_id == viewer.company_id, model.id == key)
            )
            usable = None if viewer.identity.role is Role.ADMIN else frozenset(own)
            errors += own_or_absent(source.typename, name, key, bool(there), usable)
    return found, errors

"""How is a campaign made, changed, copied, deleted, and moved through its life?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, insert, literal, null, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from resolvers import global_ids
from resolvers.campaigns import CAMPAIGN
from resolvers.changes.campaign_drafts import (
    STORED_COLUMNS,
    CampaignDraft,
    CampaignGiven,
    Reading,
    read_draft,
    stored_draft,
    stored_values,
)
from resolvers.changes.campaign_life import (
    STATE_COLUMNS,
    WAITING,
    CampaignAction,
    CampaignState,
    nothing_unknown,
    place_of,
    refusals,
    rights_missing,
)
from resolvers.changes.campaign_rules import LONGEST_NAME, Occasion, domain_missing, find_broken_rules
from resolvers.changes.campaign_steps import STEPS, Step
from resolvers.changes.company import facts_of_stored, find_catalogue, find_facts, find_sender_domain
from resolvers.changes.idempotency import Request, claim, earlier_answer, keep_answer
from resolvers.changes.outcomes import Conflicting, FieldConflict, Outcome, named_key, not_found
from resolvers.changes.recipient_counts import Expected, find_recipient_count, nobody_reached
from resolvers.changes.user_errors import Path, Refused, UserError, UserErrorCode
from resolvers.context import Context, Viewer
from store import access
from store.delivery import carry_out, queue_unknown
from store.filters import Catalogue
from store.models import Campaign, CampaignStatus, CampaignTaskUser, JsonValue, TokenScope
from store.signals import Channel, signal
from store.sql_types import AnyRow

COPY_SUFFIX = " - copy"
COLUMNS = tuple(dict.fromkeys((*STORED_COLUMNS, *STATE_COLUMNS, "version")))
COPIED_COLUMNS = (
    "company_id",
    "team_id",
    "group_id",
    "scope",
    "description",
    "approved",
    "type",
    "message_subject",
    "message_content",
    "message_sender",
    "filter",
)


@dataclass(frozen=True)
class Found:
    """A stored campaign, in the light of the company's fields."""

    row: AnyRow
    draft: CampaignDraft
    catalogue: Catalogue

    @property
    def id(self) -> UUID:
        found: UUID = self.row.id
        return found

    @property
    def state(self) -> CampaignState:
        return CampaignState.of(self.row)


async def create_campaign(
    context: Context, given: CampaignGiven, *, idempotency_key: str | None, dry_run: bool
) -> Outcome:
    """A new campaign of the viewer; the same key makes it once."""
    viewer, now = context.viewer, context.services.now()
    request = Request("createCampaign", given, idempotency_key)
    async with context.writing() as session:
        # Trying takes no key, and is refused for one as the request itself would be.
        claimed = None if dry_run else await claim(session, viewer, request)
        if dry_run:
            await earlier_answer(session, viewer, request)
        if claimed is not None and claimed.answer is not None:
            return Outcome(tuple(UUID(key) for key in claimed.answer))
        draft, errors = await judged_input(session, viewer, given, now)
        refuse_if([*errors, *missing_scope(draft, viewer)], "input")
        if draft.goes_at_once and not await find_recipient_count(session, viewer, draft):
            raise Refused([nobody_reached().below("input")])
        if dry_run:
            return Outcome()
        values = {**stored_values(draft), **sent_at_once(draft, now)}
        made = insert(Campaign).values(company_id=viewer.company_id, user_id=viewer.user_id, **values)
        campaign_id: UUID = (await session.execute(made.returning(Campaign.id))).scalar_one()
        await put_task_users(session, viewer, campaign_id, draft)
        if draft.goes_at_once:
            await carry_out(session, viewer.company_id, campaign_id)
        await signal(session, Channel.CAMPAIGNS, viewer.company_id, campaign_id)
        await keep_answer(session, viewer, claimed, [str(campaign_id)])
    return Outcome((campaign_id,))


async def judged_input(
    session: AsyncSession, viewer: Viewer, given: CampaignGiven, now: datetime
) -> tuple[CampaignDraft, list[UserError]]:
    """The draft that a client's input is, and every rule that it breaks."""
    catalogue = await find_catalogue(session, viewer)
    draft = read_draft(given, CampaignDraft(), Reading(catalogue))
    facts = await find_facts(session, viewer, draft, given, catalogue, now=now)
    return draft, await find_broken_rules(draft, facts, Occasion.SAVING)


def missing_scope(draft: CampaignDraft, viewer: Viewer) -> Iterator[UserError]:
    if draft.execute_now and TokenScope.SEND not in viewer.token_scopes:
        yield UserError(("executeNow",), UserErrorCode.FORBIDDEN, "This token lacks the scope SEND.")


def sent_at_once(draft: CampaignDraft, now: datetime) -> Mapping[str, object]:
    return {"send_at": now} if draft.status is CampaignStatus.SENDING else {}


async def update_campaign(
    context: Context, id: str, given: CampaignGiven, *, expected_version: int | None, dry_run: bool
) -> Outcome:
    """What is given changes, what is absent stays. Raises `Conflicting` when the version is another by now."""
    viewer, now = context.viewer, context.services.now()
    async with context.writing() as session:
        found = await find_campaign(session, viewer, id, lock=True)
        refuse_if(rights_missing(CampaignAction.UPDATE, found.state, viewer), "id")
        draft = read_draft(given, found.draft, Reading(found.catalogue))
        refuse_other_version(found, expected_version, conflicts(draft, found.draft), draft.errors)
        refuse_if(refusals(CampaignAction.UPDATE, found.state, viewer), "id")
        timed = not given.keys().isdisjoint(("send_at", "approved"))
        facts = await find_facts(session, viewer, draft, given, found.catalogue, now=now)
        occasion = Occasion.SAVING if timed else Occasion.CHANGING
        refuse_if(await find_broken_rules(draft, facts, occasion), "input")
        if dry_run:
            return Outcome((found.id,))
        # What was stopped stays so until it is given a time or an approval again.
        stays = not timed and found.state.status not in WAITING
        kept = {"status": found.state.status} if stays else {}
        await store(session, viewer, found, {**stored_values(draft), **kept})
        if "task" in given:
            await put_task_users(session, viewer, found.id, draft)
    return Outcome((found.id,))


async def copy_campaign(context: Context, id: str, *, idempotency_key: str | None) -> Outcome:
    """A draft like the campaign, by the viewer, without what belongs to the one sending (rule 9)."""
    viewer = context.viewer
    async with context.writing() as session:
        claimed = await claim(session, viewer, Request("copyCampaign", {"id": id}, idempotency_key))
        if claimed is not None and claimed.answer is not None:
            return Outcome(tuple(UUID(key) for key in claimed.answer))
        found = await find_campaign(session, viewer, id, lock=True)
        refuse_if(refusals(CampaignAction.COPY, found.state, viewer), "id")
        refuse_if(domain_missing(await find_sender_domain(session, viewer)), "campaign")
        copied = select(
            *(CAMPAIGN.columns[name] for name in COPIED_COLUMNS),
            literal(copied_name(found.row.name, LONGEST_NAME)),
            literal(viewer.user_id),
            literal(CampaignStatus.DRAFT.value),
        ).where(access.of_company(Campaign.company_id), Campaign.id == found.id)
        made = insert(CAMPAIGN.table).from_select([*COPIED_COLUMNS, "name", "user_id", "status"], copied)
        parameters = viewer.identity.scope.parameters()
        campaign_id: UUID = (await session.execute(made.returning(CAMPAIGN.key_column), parameters)).scalar_one()
        await signal(session, Channel.CAMPAIGNS, viewer.company_id, campaign_id)
        await keep_answer(session, viewer, claimed, [str(campaign_id)])
    return Outcome((campaign_id,))


def copied_name(name: str, longest: int) -> str:
    """The name of a copy (rule 9); a name that is too long for it is cut."""
    return name[: longest - len(COPY_SUFFIX)] + COPY_SUFFIX


async def delete_campaign(context: Context, id: str) -> Outcome:
    """With its recipients, messages, reports and exports, of which an unsent campaign has none that count."""
    viewer = context.viewer
    async with context.writing() as session:
        found = await find_campaign(session, viewer, id, lock=True)
        refuse_if(refusals(CampaignAction.DELETE, found.state, viewer), "id")
        await session.execute(delete(Campaign).where(Campaign.company_id == viewer.company_id, Campaign.id == found.id))
        await signal(session, Channel.CAMPAIGNS, viewer.company_id, found.id)
    return Outcome((found.id,))


async def move_campaign(
    context: Context,
    id: str,
    action: CampaignAction,
    *,
    expected_version: int | None,
    send_at: str | None = None,
    expected: Expected | None = None,
) -> Outcome:
    """Carries out one step of a campaign's life, or says why it may not be.

    `send_at`: of SCHEDULE alone. `expected`: of SEND, and of it always; whom the campaign reaches is counted then.
    """
    viewer, now = context.viewer, context.services.now()
    step = STEPS[action]
    async with context.writing() as session:
        found = await find_campaign(session, viewer, id, lock=True)
        refuse_if(rights_missing(action, found.state, viewer), "id")
        refuse_other_version(found, expected_version, ())
        refuse_if(refusals(action, found.state, viewer), "id")
        moment = now
        if send_at is not None:
            reading = Reading(found.catalogue)
            moment = reading.moment(send_at, "sendAt") or now
            refuse_if(reading.errors)
        draft = step.becomes(found.draft, moment)
        errors = await broken_by_step(session, viewer, step, replace(found, draft=draft), now)
        given = () if send_at is None else ("sendAt",)
        at_places = [error if error.path == given else error.below("campaign") for error in errors]
        refuse_if([*(() if expected is None else expected.problems()), *at_places])
        if expected is not None:
            count = await find_recipient_count(session, viewer, draft)
            refuse_if([*expected.missed(count), *(() if count else (nobody_reached().below("campaign"),))])
        values = step.values(draft, moment)
        await store(session, viewer, found, values)
        if step.tell is not None and values.get("status", found.state.status) is not CampaignStatus.PENDING:
            await step.tell(session, viewer.company_id, found.id)
    return Outcome((found.id,))


async def broken_by_step(
    session: AsyncSession, viewer: Viewer, step: Step, found: Found, now: datetime
) -> list[UserError]:
    """The rules that the campaign breaks, if the step is held against any; the company's domain is held."""
    if step.occasion is None:
        return []
    domain = await find_sender_domain(session, viewer, hold=True)
    facts = facts_of_stored(found.draft, found.catalogue, domain, now)
    return await find_broken_rules(found.draft, facts, step.occasion)


async def resend_unknown(context: Context, id: str) -> Outcome:
    """The messages go again of which nobody knows whether they went out; the campaign goes on, if it had ended."""
    viewer, action = context.viewer, CampaignAction.RESEND_UNKNOWN
    place = place_of(action)
    async with context.writing() as session:
        found = await find_campaign(session, viewer, id, lock=True, path=(place,))
        refuse_if(refusals(action, found.state, viewer), place)
        count = await queue_unknown(session, viewer.company_id, found.id)
        if not count:
            raise Refused([nothing_unknown().below(place)])
        await store(session, viewer, found, {"status": CampaignStatus.SENDING})
        await carry_out(session, viewer.company_id, found.id)
    return Outcome((found.id,), count=count)


async def find_campaign(session: AsyncSession, viewer: Viewer, id: str, *, lock: bool, path: Path = ("id",)) -> Found:
    """The campaign as it is now; with `lock` nobody else changes it until the unit of work ends.

    Raises NOT_FOUND at `path`.
    """
    key = named_key(CAMPAIGN, id, *path)
    parameters = viewer.identity.scope.parameters()
    columns = [CAMPAIGN.columns[name].label(name) for name in COLUMNS]
    wanted = select(*columns).where(access.campaigns(), Campaign.id == key)
    row = (await session.execute(wanted.with_for_update() if lock else wanted, parameters)).one_or_none()
    if row is None:
        raise not_found(CAMPAIGN, *path)
    users = select(CampaignTaskUser.user_id).where(
        access.of_company(CampaignTaskUser.company_id), CampaignTaskUser.campaign_id == key
    )
    user_ids = (await session.scalars(users.order_by(CampaignTaskUser.position), parameters)).all()
    catalogue = await find_catalogue(session, viewer)
    return Found(row, stored_draft(row, user_ids, catalogue), catalogue)


async def store(session: AsyncSession, viewer: Viewer, found: Found, values: Mapping[str, object]) -> None:
    """Writes the columns, and tells of it; a pause ends with the state that it was in."""
    status = values.get("status", found.row.status)
    if status not in (CampaignStatus.PENDING, CampaignStatus.SENDING):
        values = {**values, "paused_at": null()}
    await session.execute(
        update(Campaign)
        .where(Campaign.company_id == viewer.company_id, Campaign.id == found.id)
        .values({**values, "version": Campaign.version + 1, "updated_at": func.now()})
    )
    await signal(session, Channel.CAMPAIGNS, viewer.company_id, found.id)


async def put_task_users(session: AsyncSession, viewer: Viewer, campaign_id: UUID, draft: CampaignDraft) -> None:
    """The users that the task is distributed over, in the given order, in the place of those before."""
    mine = {"company_id": viewer.company_id, "campaign_id": campaign_id}
    await session.execute(
        delete(CampaignTaskUser).where(
            CampaignTaskUser.company_id == viewer.company_id, CampaignTaskUser.campaign_id == campaign_id
        )
    )
    user_ids = () if draft.task is None else draft.task.user_ids
    if user_ids:
        rows = [{**mine, "user_id": user_id, "position": place} for place, user_id in enumerate(user_ids)]
        await session.execute(insert(CampaignTaskUser), rows)


def refuse_if(errors: Iterable[UserError], *prefix: str) -> None:
    found = [error.below(*prefix) for error in errors]
    if found:
        raise Refused(found)


def refuse_other_version(
    found: Found, expected: int | None, differing: Sequence[FieldConflict], unread: Sequence[UserError] = ()
) -> None:
    """`unread`: what is wrong with the input anyway."""
    if expected is not None and expected != found.row.version:
        message = f"The campaign has changed: it is at version {found.row.version}, you saw {expected}."
        raise Conflicting(found.id, tuple(differing), message, [error.below("input") for error in unread])


def conflicts(yours: CampaignDraft, current: CampaignDraft) -> list[FieldConflict]:
    """Both sides of each value that the client would change, and that can be read."""
    mine, theirs = shown(yours), shown(current)
    unread = {error.path[:length] for error in (*yours.errors, *current.errors) for length in (1, 2)}
    differing = [path for path in sorted(mine) if mine[path] != theirs[path] and path not in unread]
    return [FieldConflict(("input", *path), mine[path], theirs[path]) for path in differing]


def shown(draft: CampaignDraft) -> dict[tuple[str, ...], JsonValue]:
    """The values of a draft as clients write them, by their paths in the input."""
    task = draft.task
    found: dict[tuple[str, ...], JsonValue] = {
        ("name",): draft.name,
        ("description",): draft.description,
        ("type",): draft.type.value,
        ("approved",): draft.approved,
        ("scope",): draft.scope.value,
        ("teamId",): shown_id("Team", draft.team_id),
        ("groupId",): shown_id("Group", draft.group_id),
        ("message", "subject"): draft.subject,
        ("message", "content"): draft.content,
        ("message", "sender"): draft.sender,
        ("filter",): None if draft.filter is None else draft.filter.as_json(),
        ("templateId",): shown_id("Template", draft.template_id),
        ("sendAt",): shown_time(draft.send_at),
        ("task", "distributionStrategy"): None if task is None else task.strategy.value,
        ("task", "distributeUserIds"): None if task is None else [shown_id("User", key) for key in task.user_ids],
        ("task", "relationsPathId"): None if task is None else shown_id("RelationsPath", task.relations_path_id),
        ("task", "startAt"): None if task is None else shown_time(task.start_at),
        ("task", "endAt"): None if task is None else shown_time(task.end_at),
    }
    return found


def shown_id(typename: str, key: object) -> str | None:
    return None if key is None else global_ids.encode(typename, key)


def shown_time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")

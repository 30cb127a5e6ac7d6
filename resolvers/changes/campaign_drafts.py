"""What would a campaign be, after what the client wants of it?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto
from itertools import islice
from typing import TypedDict, TypeVar
from uuid import UUID

from sqlalchemy import null

from resolvers.campaigns import CAMPAIGN
from resolvers.changes.user_errors import Path, UserError, UserErrorCode, absent
from resolvers.contacts import RELATIONS_PATH
from resolvers.people import GROUP, TEAM, USER
from resolvers.sources import Source
from resolvers.templates import TEMPLATE
from store.filters import MAX_PROBLEMS, Catalogue, Condition, Filter, Group, read_filter
from store.models import CampaignScope, CampaignStatus, CampaignType, DistributionStrategy, JsonValue
from store.sql_types import AnyRow
from store.times import InvalidTime, read_moment

Key = TypeVar("Key", int, UUID)


MOST_TASK_USERS = 100
LEAVES = ("field", "operator", "value")


class TaskGiven(TypedDict):
    distribution_strategy: DistributionStrategy
    distribute_user_ids: list[str]
    relations_path_id: str
    start_at: str
    end_at: str


class FilterForm(Enum):
    """How a filter was written: as an input object, as JSON in the old API's shape, or as it is stored."""

    OBJECT = auto()
    JSON = auto()
    STORED = auto()


@dataclass(frozen=True)
class FilterGiven:
    """A filter in the old API's shape, and the form that the client sees it in."""

    value: JsonValue
    form: FilterForm

    def located(self, place: Sequence[str | int]) -> Path:
        """Where the client finds what stands at this place of the value."""
        path = tuple(map(str, place))
        if self.form is not FilterForm.OBJECT:
            return ("json", *path) if self.form is FilterForm.JSON else path
        leaf = next((index for index, part in enumerate(path) if part in LEAVES), None)
        return path if leaf is None else (*path[:leaf], "match", *path[leaf:])


@dataclass(frozen=True)
class FilterReference:
    """A row that a filter names: its type, its key, and where the client finds it."""

    typename: str
    key: object
    path: Path


def absent_references(references: Iterable[FilterReference], known: Set[tuple[str, object]]) -> Iterator[UserError]:
    """The rows that are not among the known ones (types and keys); not too many are told."""
    unknown = (found for found in references if (found.typename, found.key) not in known)
    for reference in islice(unknown, MAX_PROBLEMS):
        yield absent(reference.typename, reference.path)


class CampaignGiven(TypedDict, total=False):
    """What a client wrote of a campaign; what they left out is not here. Ids and times are texts as they wrote them."""

    name: str
    description: str | None
    approved: bool
    type: CampaignType
    scope: CampaignScope
    team_id: str | None
    group_id: str | None
    subject: str | None
    content: str | None
    sender: str | None
    filter: FilterGiven | None
    template_id: str | None
    send_at: str | None
    execute_now: bool | None
    task: TaskGiven | None


@dataclass(frozen=True)
class TaskDraft:
    strategy: DistributionStrategy
    user_ids: tuple[int | None, ...]
    relations_path_id: UUID | None
    start_at: datetime | None
    end_at: datetime | None


@dataclass(frozen=True)
class CampaignDraft:
    """A campaign as it would be stored. In `task.user_ids` None stands for an id that could not be read.

    `errors` names the values that could not be read: they stand here as None, and no rule is held against them.
    `references` are the rows that a filter names which is not stored yet. `template_deleted`: the template that was
    chosen is gone, and the client has not said since what is to take its place.
    """

    name: str = ""
    type: CampaignType = CampaignType.EMAIL
    description: str = ""
    approved: bool = True
    scope: CampaignScope = CampaignScope.GLOBAL
    team_id: int | None = None
    group_id: int | None = None
    subject: str | None = None
    content: str | None = None
    sender: str | None = None
    filter: Filter | None = None
    template_id: int | None = None
    template_deleted: bool = False
    send_at: datetime | None = None
    execute_now: bool | None = None
    task: TaskDraft | None = None
    errors: tuple[UserError, ...] = ()
    references: tuple[FilterReference, ...] = ()

    def is_readable(self, *path: str) -> bool:
        return all(error.path[: len(path)] != path for error in self.errors)

    @property
    def goes_at_once(self) -> bool:
        """`execute_now` has its effect on approved campaigns only (rule 5)."""
        return self.approved and self.execute_now is True

    @property
    def status(self) -> CampaignStatus:
        """DRAFT unless it is approved and has a time (rule 11); what is to be sent at once is on its way."""
        if self.goes_at_once:
            return CampaignStatus.SENDING
        return CampaignStatus.PENDING if self.approved and self.send_at is not None else CampaignStatus.DRAFT


@dataclass
class Reading:
    """Reads a client's texts in the light of one company, and keeps what could not be read."""

    catalogue: Catalogue
    errors: list[UserError] = field(default_factory=list)

    def key(self, source: Source, text: str | None, *path: str) -> int | UUID | None:
        """The key that an id names; whether the row is there is still to be seen."""
        if text is None:
            return None
        key = source.parse_or_none(text)
        if key is None:
            self.errors.append(absent(source.typename, path))
        return key

    def number(self, source: Source, text: str | None, *path: str) -> int | None:
        key = self.key(source, text, *path)
        return key if isinstance(key, int) else None

    def uuid(self, source: Source, text: str | None, *path: str) -> UUID | None:
        key = self.key(source, text, *path)
        return key if isinstance(key, UUID) else None

    def moment(self, text: str | None, *path: str) -> datetime | None:
        if text is None:
            return None
        try:
            return read_moment(text, self.catalogue.zone)
        except InvalidTime as error:
            self.errors.append(UserError(path, UserErrorCode.INVALID_TIME, str(error)))
            return None

    def filter(self, given: FilterGiven | None) -> Filter | None:
        """The filter; None where it is empty, which is not a filter (rule 3)."""
        if given is None:
            return None
        found = read_filter(given.value, self.catalogue)
        self.errors += [
            UserError(("filter", *given.located(problem.path)), UserErrorCode(problem.code), problem.message)
            for problem in found.problems
        ]
        return found.filter

    def references(self, given: FilterGiven | None, found: Filter | None) -> Iterator[FilterReference]:
        """The rows that the filter names, of which it is still to be seen whether they are there."""
        if given is None or found is None:
            return
        for place, condition in placed_conditions(given.value, found):
            typename = condition.field.id_of
            if typename is None or isinstance(condition.value, bool):
                continue
            several = isinstance(condition.value, tuple)
            for index, key in enumerate(condition.value if isinstance(condition.value, tuple) else (condition.value,)):
                leaf = (*place, "value", index) if several else (*place, "value")
                yield FilterReference(typename, key, ("filter", *given.located(leaf)))

    def task(self, given: TaskGiven) -> TaskDraft:
        user_ids = given["distribute_user_ids"]
        if len(user_ids) > MOST_TASK_USERS:
            message = f"A task goes to at most {MOST_TASK_USERS} users."
            self.errors.append(UserError(("task", "distributeUserIds"), UserErrorCode.TOO_MANY, message))
        return TaskDraft(
            given["distribution_strategy"],
            tuple(
                self.number(USER, text, "task", "distributeUserIds", str(place))
                for place, text in enumerate(user_ids[:MOST_TASK_USERS])
            ),
            self.uuid(RELATIONS_PATH, given["relations_path_id"], "task", "relationsPathId"),
            self.moment(given["start_at"], "task", "startAt"),
            self.moment(given["end_at"], "task", "endAt"),
        )


def placed_conditions(given: JsonValue, found: Filter) -> Iterator[tuple[tuple[str | int, ...], Condition]]:
    """The conditions of a filter, each with its place in the value that it was read from."""

    def within(
        node: Condition | Group, place: tuple[str | int, ...]
    ) -> Iterator[tuple[tuple[str | int, ...], Condition]]:
        if isinstance(node, Condition):
            yield place, node
            return
        for index, member in enumerate(node.members):
            yield from within(member, (*place, str(node.junction), index))

    if isinstance(given, dict) and "and" not in given:
        yield from within(found.members[0], ())
        return
    start = ("and",) if isinstance(given, dict) else ()
    for index, member in enumerate(found.members):
        yield from within(member, (*start, index))


def read_draft(given: CampaignGiven, base: CampaignDraft, reading: Reading) -> CampaignDraft:
    """The base with what the client gave put in its place."""
    found = replace(
        base,
        name=given.get("name", base.name),
        type=given.get("type", base.type),
        description=(given["description"] or "") if "description" in given else base.description,
        approved=given.get("approved", base.approved),
        scope=given.get("scope", base.scope),
        subject=given.get("subject", base.subject),
        content=given.get("content", base.content),
        sender=given.get("sender", base.sender),
        execute_now=given.get("execute_now"),
    )
    if "team_id" in given:
        found = replace(found, team_id=reading.number(TEAM, given["team_id"], "teamId"))
    if "group_id" in given:
        found = replace(found, group_id=reading.number(GROUP, given["group_id"], "groupId"))
    if "template_id" in given:
        template_id = reading.number(TEMPLATE, given["template_id"], "templateId")
        found = replace(found, template_id=template_id, template_deleted=False)
    if "filter" in given:
        wanted = reading.filter(given["filter"])
        references = tuple(reading.references(given["filter"], wanted))
        found = replace(found, filter=wanted, references=references)
    if "send_at" in given:
        found = replace(found, send_at=reading.moment(given["send_at"], "sendAt"))
    if "task" in given:
        found = replace(found, task=None if given["task"] is None else reading.task(given["task"]))
    kept = tuple(error for error in base.errors if "filter" not in given)
    return replace(found, errors=(*kept, *reading.errors))


# The columns that a draft is made of.
STORED_COLUMNS = (
    "id",
    "name",
    "type",
    "description",
    "approved",
    "scope",
    "team_id",
    "group_id",
    "message_subject",
    "message_content",
    "message_sender",
    "filter",
    "template_id",
    "template_deleted",
    "send_at",
    "task_distribution_strategy",
    "task_relations_path_id",
    "task_start_at",
    "task_end_at",
)


def stored_draft(row: AnyRow, task_user_ids: Sequence[int], catalogue: Catalogue) -> CampaignDraft:
    """The draft that a stored campaign is; its filter is held against the fields as they are now."""
    reading = Reading(catalogue)
    task = None
    if row.task_distribution_strategy is not None:
        strategy = DistributionStrategy(row.task_distribution_strategy)
        task = TaskDraft(strategy, tuple(task_user_ids), row.task_relations_path_id, row.task_start_at, row.task_end_at)
    return CampaignDraft(
        name=row.name,
        type=CampaignType(row.type),
        description=row.description,
        approved=row.approved,
        scope=CampaignScope(row.scope),
        team_id=row.team_id,
        group_id=row.group_id,
        subject=row.message_subject,
        content=row.message_content,
        sender=row.message_sender,
        filter=reading.filter(FilterGiven(row.filter, FilterForm.STORED)),
        template_id=row.template_id,
        template_deleted=row.template_deleted,
        send_at=row.send_at,
        task=task,
        errors=tuple(reading.errors),
    )


def stored_values(draft: CampaignDraft) -> Mapping[str, object]:
    """The columns that hold a draft, but for the users of its task."""
    task = draft.task
    return {
        "name": draft.name,
        "type": draft.type,
        "description": draft.description,
        "approved": draft.approved,
        "scope": draft.scope,
        "team_id": draft.team_id,
        "group_id": draft.group_id,
        "message_subject": draft.subject,
        "message_content": draft.content,
        "message_sender": draft.sender,
        # A plain None would be stored as JSON's null.
        "filter": null() if draft.filter is None else draft.filter.as_json(),
        "template_id": draft.template_id,
        "template_deleted": draft.template_deleted,
        "send_at": draft.send_at,
        "task_distribution_strategy": None if task is None else task.strategy,
        "task_relations_path_id": None if task is None else task.relations_path_id,
        "task_start_at": None if task is None else task.start_at,
        "task_end_at": None if task is None else task.end_at,
        "status": draft.status,
    }


assert set(STORED_COLUMNS) <= set(CAMPAIGN.columns)

"""What would an export hold, after what the client wants of it, and what of that cannot be meant?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from resolvers.campaigns import CAMPAIGN
from resolvers.changes.aside import aside
from resolvers.changes.campaign_drafts import FilterGiven, Reading, absent_references
from resolvers.changes.campaigns import shown_time
from resolvers.changes.company import find_catalogue, find_filter_rows, find_rows
from resolvers.changes.user_errors import Path, UserError, UserErrorCode, absent
from resolvers.contacts import CONTACT, CONTACT_LIST
from resolvers.context import Viewer
from resolvers.sources import Source
from store.exports import FORMATS, available_columns
from store.filters import MAX_PROBLEMS
from store.models import ExportFormat, ExportKind, JsonValue

MOST_LISTS = 1_000
MOST_CONTACTS = 10_000
MOST_COLUMNS = 500
NAMED_COLUMNS = 100


@dataclass(frozen=True)
class PeriodGiven:
    start: str
    end: str


@dataclass(frozen=True)
class ExportGiven:
    """An export as it was written: ids and times are texts, and what was left out is None.

    `scope`: where lists, contacts, the campaign and the period stand. `stored`: it was written by an export before.
    """

    kind: ExportKind
    format: ExportFormat
    scope: Path = ()
    everything: bool = True
    list_ids: Sequence[str] | None = None
    contact_ids: Sequence[str] | None = None
    campaign_id: str | None = None
    period: PeriodGiven | None = None
    filter: FilterGiven | None = None
    columns: Sequence[str] | None = None
    raw: bool = False
    stored: bool = False


@dataclass(frozen=True)
class ExportDraft:
    """An export as it would be stored."""

    kind: ExportKind
    format: ExportFormat
    parameters: Mapping[str, JsonValue]
    campaign_id: UUID | None


async def read_export(
    session: AsyncSession, viewer: Viewer, given: ExportGiven
) -> tuple[ExportDraft, Sequence[UserError]]:
    """The draft, and everything that is wrong with what was given; the draft is good for nothing if anything is."""
    reading = ExportReading(session, viewer, given)
    return await reading.draft(), reading.errors


class ExportReading:
    """Reads what was given in the light of the company, and keeps what is wrong with it."""

    def __init__(self, session: AsyncSession, viewer: Viewer, given: ExportGiven) -> None:
        self.errors: list[UserError] = []
        self._session = session
        self._viewer = viewer
        self._given = given
        self._parameters: dict[str, JsonValue] = {}
        self._campaign_id: UUID | None = None

    async def draft(self) -> ExportDraft:
        given = self._given
        scopes: Mapping[ExportKind, Callable[[], Awaitable[None]]] = {
            ExportKind.CONTACTS: self._contacts,
            ExportKind.DELIVERY_REPORTS: self._delivery_reports,
            ExportKind.CAMPAIGN_RECIPIENTS: self._campaign,
            ExportKind.MAILING: self._mailing,
        }
        await scopes[given.kind]()
        self._format()
        await self._columns()
        if given.raw:
            self._parameters["raw"] = True
        return ExportDraft(given.kind, given.format, self._parameters, self._campaign_id)

    def _wrong(self, path: Path, code: UserErrorCode, message: str) -> None:
        self.errors.append(UserError(path, code, message))

    async def _contacts(self) -> None:
        if not self._given.everything:
            said = "This can only be true; name lists or contacts for some of them."
            self._wrong((*self._given.scope, "all"), UserErrorCode.INVALID_VALUE, said)
        await self._ids("listIds", CONTACT_LIST, self._given.list_ids, MOST_LISTS)
        await self._ids("contactIds", CONTACT, self._given.contact_ids, MOST_CONTACTS)

    async def _ids(self, name: str, source: Source, texts: Sequence[str] | None, most: int) -> None:
        """Ids that are named twice count once; those that name nothing are told, up to a hundred."""
        if texts is None:
            return
        path = (*self._given.scope, name)
        if not self._is_few(path, texts, most):
            return
        length = sum(map(len, texts))
        keys = await aside(length, lambda: [source.parse_or_none(text) for text in texts])
        # Contacts come and go: an export that is repeated is of those that are still there.
        if not (self._given.stored and source is CONTACT):
            found = await find_rows(self._session, self._viewer, source, {key for key in keys if key is not None})
            missing = (place for place, key in enumerate(keys) if key not in found)
            self.errors += [absent(source.typename, (*path, str(place))) for place in islice(missing, MAX_PROBLEMS)]
        named = (key for key in dict.fromkeys(keys) if key is not None)
        self._parameters[name] = [key if isinstance(key, int) else str(key) for key in named]

    def _is_few(self, path: Path, entries: Sequence[str], most: int) -> bool:
        if not entries:
            self._wrong(path, UserErrorCode.REQUIRED, "Name at least one, or leave the list out.")
        elif len(entries) > most:
            self._wrong(path, UserErrorCode.TOO_MANY, f"This may have at most {most:,} entries.")
        return 0 < len(entries) <= most

    async def _delivery_reports(self) -> None:
        if self._given.period is None:
            await self._campaign()
        else:
            await self._period(self._given.period)

    async def _campaign(self) -> None:
        path = (*self._given.scope, "campaignId")
        if self._given.campaign_id is None:
            self._wrong(path, UserErrorCode.REQUIRED, "This takes a campaign.")
            return
        key = CAMPAIGN.parse_or_none(self._given.campaign_id)
        if not isinstance(key, UUID) or not await find_rows(self._session, self._viewer, CAMPAIGN, {key}):
            self.errors.append(absent(CAMPAIGN.typename, path))
            return
        self._campaign_id = key
        self._parameters["campaignId"] = str(key)

    async def _period(self, period: PeriodGiven) -> None:
        """From the start on, up to the end and without it."""
        path = () if self._given.stored else (*self._given.scope, "period")
        reading = Reading(await find_catalogue(self._session, self._viewer))
        start = reading.moment(period.start, *path, "startDateTime")
        end = reading.moment(period.end, *path, "endDateTime")
        self.errors += reading.errors
        if start is not None and end is not None and end <= start:
            self._wrong((*path, "endDateTime"), UserErrorCode.NOT_AFTER, "The end must be after the start.")
        self._parameters |= {"startDateTime": shown_time(start), "endDateTime": shown_time(end)}

    async def _mailing(self) -> None:
        given = self._given.filter
        if given is None:
            return
        reading = Reading(await find_catalogue(self._session, self._viewer))
        wanted = reading.filter(given)
        references = list(reading.references(given, wanted))
        known = await find_filter_rows(self._session, self._viewer, references)
        self.errors += [*reading.errors, *absent_references(references, known)]
        if wanted is not None:
            self._parameters["filter"] = wanted.as_json()
        elif not reading.errors:
            # Of no condition, or of one of none, it is not said what they are to select.
            self._wrong(("filter",), UserErrorCode.REQUIRED, "Give at least one condition; leave it out for all.")

    def _format(self) -> None:
        given, fitting = self._given.format, FORMATS[self._given.kind]
        if given not in fitting:
            said = f"This kind of export can be written as {', '.join(fitting)}; not as {given}."
            self._wrong(("format",), UserErrorCode.INVALID_VALUE, said)

    async def _columns(self) -> None:
        names = self._given.columns
        if names is None or not self._is_few(("columns",), names, MOST_COLUMNS):
            return
        known = [
            column.name
            for column in await available_columns(self._session.execute, self._viewer.company_id, self._given.kind)
        ]
        self.errors += islice(column_errors(names, known), MAX_PROBLEMS)
        self._parameters["columns"] = list(names)


def column_errors(names: Sequence[str], known: Sequence[str]) -> list[UserError]:
    """What is wrong with a choice of columns; the columns that there are stand in the first error alone."""
    found: list[UserError] = []
    listed = ", ".join(known[:NAMED_COLUMNS]) + " …" * (len(known) > NAMED_COLUMNS)
    there = frozenset(known)
    seen: set[str] = set()
    for place, name in enumerate(names):
        path = ("columns", str(place))
        if name not in there:
            said = "There is no such column."
            found.append(
                UserError(path, UserErrorCode.UNKNOWN_FIELD, said if found else f"{said} There are: {listed}.")
            )
        elif name in seen:
            found.append(UserError(path, UserErrorCode.DUPLICATE, "This column is named twice."))
        seen.add(name)
    return found

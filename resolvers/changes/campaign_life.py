"""What may be done with a campaign in the state that it is in, and by whom?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from resolvers.changes.user_errors import UserError, UserErrorCode
from resolvers.context import Viewer
from store.models import CampaignStatus, CampaignType, Role, TokenScope
from store.sql_types import AnyRow


class CampaignAction(StrEnum):
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    COPY = "COPY"
    APPROVE = "APPROVE"
    UNAPPROVE = "UNAPPROVE"
    SCHEDULE = "SCHEDULE"
    SEND = "SEND"
    CANCEL = "CANCEL"
    PAUSE = "PAUSE"
    RESUME = "RESUME"
    SEND_TEST = "SEND_TEST"
    RESEND_UNKNOWN = "RESEND_UNKNOWN"


WAITING = frozenset({CampaignStatus.DRAFT, CampaignStatus.PENDING})
UNDER_WAY = frozenset({CampaignStatus.PENDING, CampaignStatus.SENDING})
# What was stopped, or reached nobody, before anything of it went out may be changed and tried again.
CHANGEABLE = WAITING | {CampaignStatus.CANCELED, CampaignStatus.FAILED}
# What was canceled stays so: nothing of it goes out any more.
BEGUN = frozenset({CampaignStatus.SENDING, CampaignStatus.COMPLETED, CampaignStatus.FAILED})
STATUSES: Mapping[CampaignAction, frozenset[CampaignStatus]] = {
    CampaignAction.UPDATE: CHANGEABLE,
    CampaignAction.DELETE: CHANGEABLE,
    CampaignAction.APPROVE: CHANGEABLE,
    CampaignAction.UNAPPROVE: CHANGEABLE,
    CampaignAction.SCHEDULE: CHANGEABLE,
    CampaignAction.SEND: CHANGEABLE,
    CampaignAction.CANCEL: UNDER_WAY,
    CampaignAction.PAUSE: UNDER_WAY,
    CampaignAction.RESUME: UNDER_WAY,
    CampaignAction.RESEND_UNKNOWN: BEGUN,
}
OF_OTHERS = frozenset({CampaignAction.COPY, CampaignAction.SEND_TEST})
SENDING_ACTIONS = frozenset(
    {CampaignAction.SEND, CampaignAction.SEND_TEST, CampaignAction.RESUME, CampaignAction.RESEND_UNKNOWN}
)

STATE_COLUMNS = (
    "user_id",
    "type",
    "status",
    "approved",
    "paused_at",
    "sent_at",
    "total_sent",
    "has_begun",
    "has_unknown",
)


@dataclass(frozen=True)
class CampaignState:
    """Where a campaign is in its life."""

    author_id: int
    type: CampaignType
    status: CampaignStatus
    approved: bool
    paused: bool
    has_gone_out: bool
    has_unknown: bool

    @classmethod
    def of(cls, row: AnyRow) -> CampaignState:
        """Of a row with `STATE_COLUMNS`."""
        return cls(
            author_id=row.user_id,
            type=CampaignType(row.type),
            status=CampaignStatus(row.status),
            approved=row.approved,
            paused=row.paused_at is not None,
            has_gone_out=row.sent_at is not None or bool(row.total_sent) or row.has_begun,
            has_unknown=row.has_unknown,
        )


def scope_needed(action: CampaignAction) -> TokenScope:
    return TokenScope.SEND if action in SENDING_ACTIONS else TokenScope.WRITE


def place_of(action: CampaignAction) -> str:
    """The argument of the action's mutation that names the campaign."""
    return "campaignId" if action is CampaignAction.RESEND_UNKNOWN else "id"


def refusals(action: CampaignAction, state: CampaignState, viewer: Viewer) -> list[UserError]:
    """Why the viewer may not do this now; the campaign's content is the rule book's matter."""
    return [*rights_missing(action, state, viewer), *wrong_states(action, state)]


def rights_missing(action: CampaignAction, state: CampaignState, viewer: Viewer) -> Iterator[UserError]:
    """Members change what they wrote; managers and administrators all that they see. Anyone may copy or try it out."""
    if scope_needed(action) not in viewer.token_scopes:
        message = f"This token lacks the scope {scope_needed(action)}."
        yield UserError((), UserErrorCode.FORBIDDEN, message)
    if action not in OF_OTHERS and viewer.identity.role is Role.MEMBER and state.author_id != viewer.user_id:
        yield UserError((), UserErrorCode.FORBIDDEN, "Members may change campaigns of their own only.")


def wrong_states(action: CampaignAction, state: CampaignState) -> Iterator[UserError]:
    allowed = STATUSES.get(action)
    if allowed is not None and state.status not in allowed:
        yield wrong_status(action, state)
    elif allowed is CHANGEABLE and state.has_gone_out:
        yield UserError((), UserErrorCode.ALREADY_SENT, "Some of this campaign has been sent already.")
    if action is CampaignAction.APPROVE and state.approved:
        yield UserError((), UserErrorCode.ALREADY_APPROVED, "This campaign is approved already.")
    if action in (CampaignAction.UNAPPROVE, CampaignAction.SEND) and not state.approved:
        yield UserError((), UserErrorCode.NOT_APPROVED, "This campaign is not approved.")
    if action is CampaignAction.PAUSE and state.paused:
        yield UserError((), UserErrorCode.PAUSED, "This campaign is paused already.")
    if action is CampaignAction.RESUME and not state.paused:
        yield UserError((), UserErrorCode.NOT_PAUSED, "This campaign is not paused.")
    if action is CampaignAction.RESEND_UNKNOWN and state.status in BEGUN and not state.has_unknown:
        yield nothing_unknown()
    if action is CampaignAction.SEND_TEST and state.type is not CampaignType.EMAIL:
        yield UserError((), UserErrorCode.NOT_AN_EMAIL, "Test mails are made of campaigns by e-mail only.")


def nothing_unknown() -> UserError:
    message = "Of none of this campaign's messages it is unknown whether it went out."
    return UserError((), UserErrorCode.NOTHING_UNKNOWN, message)


def wrong_status(action: CampaignAction, state: CampaignState) -> UserError:
    allowed = STATUSES[action]
    if allowed is CHANGEABLE:
        said = "is being sent" if state.status is CampaignStatus.SENDING else "has been sent"
        return UserError((), UserErrorCode.ALREADY_SENT, f"This campaign {said}: it can no longer be changed.")
    *others, last = [status.value for status in CampaignStatus if status in allowed]
    message = f"This takes a campaign that is {', '.join(others)} or {last}; this one is {state.status.value}."
    return UserError((), UserErrorCode.WRONG_STATUS, message)

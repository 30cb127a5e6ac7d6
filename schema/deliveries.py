"""What does a client see of the sending of a campaign?"""

from __future__ import annotations

from datetime import datetime

from resolvers import deliveries as delivery_edges
from resolvers.context import Context
from resolvers.deliveries import CampaignOutcome
from schema.audiences import Exclusion
from schema.fields import column, computed, grouped
from schema.registry import part_type, row_type
from schema.scalars import EmailAddress
from store.audience import ExclusionReason
from store.models import CampaignProblem
from store.sql_types import AnyRow


def excluded(row: AnyRow, _context: Context) -> list[Exclusion]:
    found = row.excluded
    return [Exclusion(reason=reason, count=found[reason]) for reason in ExclusionReason if reason in found]


@row_type(delivery_edges.DELIVERY, "What keeps a campaign from reaching people.")
class DeliveryProblem:
    code: CampaignProblem = column("problem_code", "What it is, for programs.")
    message: str = column("problem_message", "What it is, for people.")


@part_type(delivery_edges.DELIVERY, "The sending of a campaign, from when it was settled whom it goes to.")
class CampaignDelivery:
    started_at: datetime = column("started_at", "When it was settled whom the campaign goes to.")
    ended_at: datetime | None = column("ended_at", "When nothing was left to be sent; null until then.")
    recipients: int = column("recipients", "How many contacts it goes to, counted when it started.")
    excluded: list[Exclusion] = computed(
        ("excluded",), excluded, "How many of the contacts selected then are not written to, by the reason."
    )
    sender: EmailAddress | None = column("sender", "The address that its mails come from.")
    per_second: float | None = column(
        "per_second",
        "How many recipients it gets through in a second, lately; by letter, how many letters are made in a second.",
    )
    seconds_remaining: float | None = column(
        "seconds_remaining", "How long it will take at this pace; a guess. Null while it does not go on."
    )
    ends_at: datetime | None = column(
        "ends_at", "When it will end at this pace; a guess. Null while it does not go on."
    )
    heartbeat_at: datetime | None = column("heartbeat_at", "The last sign of life of its workers.")
    stalled: bool = column(
        "stalled",
        "Whether there is something to be sent and its worker has given no sign of life for 15 seconds; another will "
        "go on with it.",
    )
    problem: DeliveryProblem | None = grouped(
        "What it waits for, or why it reached nobody; null when nothing is wrong.", present="problem_code"
    )
    outcome: CampaignOutcome | None = column("outcome", "Whom it has reached; null while the campaign is SENDING.")


@part_type(
    delivery_edges.STATISTICS,
    "How many recipients a campaign has, now: at all, and with each `DeliveryStatus`. These add up to `total`.",
)
class CampaignStatistics:
    total: int = column("total", "All recipients; 0 until it is settled whom the campaign goes to.")
    queued: int = column("queued", "Those who are QUEUED.")
    sending: int = column("sending", "Those who are SENDING.")
    sent: int = column("sent", "Those who are SENT: handed over, and nothing more is known. See `handedOver`.")
    delivered: int = column("delivered", "Those who are DELIVERED.")
    deferred: int = column("deferred", "Those who are DEFERRED.")
    bounced: int = column("bounced", "Those who are BOUNCED.")
    failed: int = column("failed", "Those who are FAILED.")
    unsubscribed: int = column("unsubscribed", "Those who are UNSUBSCRIBED.")
    unknown: int = column("unknown", "Those who are UNKNOWN; resendUnknown has them sent again.")
    canceled: int = column("canceled", "Those who are CANCELED.")
    handed_over: int = column(
        "handed_over",
        "Those whose message was handed over, whatever came of it: SENT, DELIVERED, BOUNCED and UNSUBSCRIBED.",
    )
    percent: float | None = column(
        "percent",
        "How much is done, from 0 to 100: all but QUEUED, SENDING and DEFERRED; null without recipients. Of a campaign "
        "by letter that is SENDING, how many letters are made: all are SENT together once the last one is.",
    )

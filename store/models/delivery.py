"""How was a campaign carried out, which calls did it make of itself, and who is not mailed, or wants to know?"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, String, Text, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from store.models.base import Base, JsonValue, Owned, Stamped, one_of, refers_to


class SuppressionReason(StrEnum):
    BOUNCED = "BOUNCED"
    REFUSED = "REFUSED"
    COMPLAINED = "COMPLAINED"


class NotificationKind(StrEnum):
    LETTERS_READY = "LETTERS_READY"
    CAMPAIGN_COMPLETED = "CAMPAIGN_COMPLETED"
    CAMPAIGN_FAILED = "CAMPAIGN_FAILED"


class CampaignProblem(StrEnum):
    EMPTY_AUDIENCE = "EMPTY_AUDIENCE"
    NOBODY_REACHED = "NOBODY_REACHED"
    NOT_APPROVED = "NOT_APPROVED"
    NO_FILTER = "NO_FILTER"
    BROKEN_FILTER = "BROKEN_FILTER"
    NO_DOMAIN = "NO_DOMAIN"
    NO_CONTENT = "NO_CONTENT"
    TEMPLATE_DELETED = "TEMPLATE_DELETED"
    MAIL_SERVER_UNAVAILABLE = "MAIL_SERVER_UNAVAILABLE"
    LETTERS_FAILED = "LETTERS_FAILED"
    DEADLINE_PASSED = "DEADLINE_PASSED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class CampaignDelivery(Owned, Base):
    """The sending of a campaign, made when its audience is frozen.

    `excluded`: how many of the selected contacts were left out, by reason. `sender`, the template's content and its
    margins (millimetres) stay as they were then. `deadline_at`: until when e-mails are tried again. `problem_code`: why
    nobody was reached, or what the sending waits for. `heartbeat_at`: the last sign of life of the worker that carries
    it out.
    """

    __tablename__ = "campaign_deliveries"
    __table_args__ = (
        refers_to("campaigns", "campaign_id", ondelete="CASCADE"),
        CheckConstraint("recipients >= 0", name="recipients"),
        one_of("problem_code", CampaignProblem),
        CheckConstraint("(problem_code IS NULL) = (problem_message IS NULL)", name="problem"),
    )

    campaign_id: Mapped[UUID] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    recipients: Mapped[int] = mapped_column(server_default="0")
    excluded: Mapped[dict[str, JsonValue]] = mapped_column(server_default=text("'{}'"))
    sender: Mapped[str | None] = mapped_column(String(320))
    template_content: Mapped[str | None]
    margin_top: Mapped[float | None]
    margin_right: Mapped[float | None]
    margin_bottom: Mapped[float | None]
    margin_left: Mapped[float | None]
    per_second: Mapped[float | None]
    heartbeat_at: Mapped[datetime | None]
    problem_code: Mapped[CampaignProblem | None] = mapped_column(Text)
    problem_message: Mapped[str | None]


class CampaignTask(Owned, Stamped, Base):
    """One call that a campaign by telephone makes for a user: whom to call, between when and when."""

    __tablename__ = "campaign_tasks"
    __table_args__ = (
        refers_to("campaigns", "campaign_id", ondelete="CASCADE"),
        refers_to("recipients", "recipient_id", ondelete="CASCADE"),
        refers_to("contacts", "contact_id", ondelete="SET NULL (contact_id)"),
        refers_to("users", "user_id"),
        refers_to("users", "done_by_id"),
        UniqueConstraint("company_id", "recipient_id"),
        CheckConstraint("end_at > start_at", name="window"),
        CheckConstraint("(done_at IS NULL) = (done_by_id IS NULL)", name="done"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    campaign_id: Mapped[UUID]
    recipient_id: Mapped[int] = mapped_column(BigInteger)
    contact_id: Mapped[UUID | None]
    user_id: Mapped[int]
    start_at: Mapped[datetime]
    end_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    done_by_id: Mapped[int | None]


class Suppression(Owned, Base):
    """An address, in small letters, that no campaign of the company mails to any more."""

    __tablename__ = "suppressions"
    __table_args__ = (
        refers_to("campaigns", "campaign_id", ondelete="SET NULL (campaign_id)"),
        one_of("reason", SuppressionReason),
        UniqueConstraint("company_id", "address"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    address: Mapped[str] = mapped_column(String(320, collation="C"))
    reason: Mapped[SuppressionReason] = mapped_column(Text)
    campaign_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Notification(Owned, Base):
    """Something that a user is told of; `read_at` is null until they have seen it.

    `handing_over_at`: since when its mail is being handed to the mail server, or was.
    """

    __tablename__ = "notifications"
    __table_args__ = (
        refers_to("users", "user_id", ondelete="CASCADE"),
        refers_to("campaigns", "campaign_id", ondelete="CASCADE"),
        one_of("kind", NotificationKind),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    user_id: Mapped[int]
    kind: Mapped[NotificationKind] = mapped_column(Text)
    campaign_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    read_at: Mapped[datetime | None]
    handing_over_at: Mapped[datetime | None]


Index(
    "campaign_tasks_campaign_idx",
    CampaignTask.company_id,
    CampaignTask.campaign_id,
    CampaignTask.start_at,
    CampaignTask.id,
)
Index("campaign_tasks_user_idx", CampaignTask.company_id, CampaignTask.user_id, CampaignTask.start_at, CampaignTask.id)
Index("campaign_tasks_done_by_idx", CampaignTask.company_id, CampaignTask.done_by_id)
Index("campaign_tasks_contact_idx", CampaignTask.company_id, CampaignTask.contact_id)
Index("suppressions_created_idx", Suppression.company_id, Suppression.created_at, Suppression.id)
Index("suppressions_campaign_idx", Suppression.company_id, Suppression.campaign_id)
Index("notifications_user_idx", Notification.company_id, Notification.user_id, Notification.created_at, Notification.id)
Index("notifications_campaign_idx", Notification.company_id, Notification.campaign_id)

"""What is sent and what became of it: campaigns, templates, recipients, messages, delivery reports, settings."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.orm import Mapped, mapped_column

from store.models.base import Base, JsonValue, Owned, Stamped, derived, derived_time, one_of, refers_to


class CampaignType(StrEnum):
    EMAIL = "EMAIL"
    LETTER = "LETTER"
    TELEPHONE = "TELEPHONE"


class TemplateType(StrEnum):
    EMAIL = "EMAIL"
    LETTER = "LETTER"


class CampaignScope(StrEnum):
    GLOBAL = "GLOBAL"
    GROUP = "GROUP"
    TEAM = "TEAM"
    PERSONAL = "PERSONAL"


class CampaignStatus(StrEnum):
    DRAFT = "DRAFT"
    PENDING = "PENDING"
    SENDING = "SENDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    # What the old API called COMPLETED: clients may still filter by it, no row ever holds it.
    SENT = "SENT"


class DistributionStrategy(StrEnum):
    DISTRIBUTE = "DISTRIBUTE"
    RESPONSIBLE_USER = "RESPONSIBLE_USER"


class DeliveryStatus(StrEnum):
    QUEUED = "QUEUED"
    SENDING = "SENDING"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    DEFERRED = "DEFERRED"
    BOUNCED = "BOUNCED"
    FAILED = "FAILED"
    UNSUBSCRIBED = "UNSUBSCRIBED"
    UNKNOWN = "UNKNOWN"
    CANCELED = "CANCELED"


# Not written to yet.
WAITING = (DeliveryStatus.QUEUED, DeliveryStatus.DEFERRED)
# Not at an end yet.
UNDER_WAY = (*WAITING, DeliveryStatus.SENDING)
# Handed over for certain, whatever became of it then.
HANDED_OVER = (
    DeliveryStatus.SENT,
    DeliveryStatus.DELIVERED,
    DeliveryStatus.BOUNCED,
    DeliveryStatus.UNSUBSCRIBED,
)
# Handed over, or perhaps, or just being.
BEGUN = (*HANDED_OVER, DeliveryStatus.SENDING, DeliveryStatus.UNKNOWN)


class RelationsPath(Owned, Base):
    """The path of a case that a campaign's task is created on."""

    __tablename__ = "relations_paths"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    name: Mapped[str] = mapped_column(String(255))
    sort_name: Mapped[str] = derived("lower(name)")


class Template(Owned, Stamped, Base):
    __tablename__ = "templates"
    __table_args__ = (
        refers_to("users", "user_id"),
        refers_to("teams", "team_id", ondelete="SET NULL (team_id)"),
        refers_to("groups", "group_id", ondelete="SET NULL (group_id)"),
        one_of("type", TemplateType),
        CheckConstraint("least(margin_top, margin_right, margin_bottom, margin_left) >= 0", name="margins"),
    )

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    user_id: Mapped[int]
    team_id: Mapped[int | None]
    group_id: Mapped[int | None]
    type: Mapped[TemplateType] = mapped_column(Text)
    title: Mapped[str] = mapped_column(String(255))
    campaign: Mapped[bool] = mapped_column(server_default="true")
    content: Mapped[str] = mapped_column(server_default="")
    margin_top: Mapped[float | None]
    margin_right: Mapped[float | None]
    margin_bottom: Mapped[float | None]
    margin_left: Mapped[float | None]
    sort_title: Mapped[str] = derived("lower(title)")


class Campaign(Owned, Stamped, Base):
    """`template_deleted`: the template that was chosen is gone, and none, or no other one, was chosen since."""

    __tablename__ = "campaigns"
    __table_args__ = (
        refers_to("users", "user_id"),
        refers_to("teams", "team_id"),
        refers_to("groups", "group_id"),
        refers_to("templates", "template_id", ondelete="SET NULL (template_id)"),
        refers_to("relations_paths", "task_relations_path_id"),
        one_of("scope", CampaignScope),
        one_of("type", CampaignType),
        one_of("status", [status for status in CampaignStatus if status is not CampaignStatus.SENT]),
        one_of("task_distribution_strategy", DistributionStrategy),
        CheckConstraint("scope <> 'TEAM' OR team_id IS NOT NULL", name="scope_team"),
        CheckConstraint("scope <> 'GROUP' OR group_id IS NOT NULL", name="scope_group"),
        CheckConstraint("task_end_at > task_start_at", name="task_window"),
        CheckConstraint(
            "num_nonnulls(task_distribution_strategy, task_relations_path_id, task_start_at, task_end_at) IN (0, 4)",
            name="task_complete",
        ),
        CheckConstraint("total_sent >= 0", name="total_sent"),
        CheckConstraint("paused_at IS NULL OR status IN ('PENDING', 'SENDING')", name="paused"),
        CheckConstraint("NOT template_deleted OR template_id IS NULL", name="template_deleted"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    user_id: Mapped[int]
    team_id: Mapped[int | None]
    group_id: Mapped[int | None]
    scope: Mapped[CampaignScope] = mapped_column(Text, server_default=CampaignScope.GLOBAL)
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(server_default="")
    approved: Mapped[bool] = mapped_column(server_default="true")
    type: Mapped[CampaignType] = mapped_column(Text)
    status: Mapped[CampaignStatus] = mapped_column(Text, server_default=CampaignStatus.DRAFT)
    message_subject: Mapped[str | None]
    message_content: Mapped[str | None]
    message_sender: Mapped[str | None]
    template_id: Mapped[int | None]
    template_deleted: Mapped[bool] = mapped_column(server_default="false")
    filter: Mapped[list[JsonValue] | None]
    send_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    total_sent: Mapped[int | None]
    task_distribution_strategy: Mapped[DistributionStrategy | None] = mapped_column(Text)
    task_relations_path_id: Mapped[UUID | None]
    task_start_at: Mapped[datetime | None]
    task_end_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")
    sort_send_at: Mapped[datetime] = derived_time("send_at")
    sort_sent_at: Mapped[datetime] = derived_time("sent_at")
    sort_name: Mapped[str] = derived("lower(name)")
    search_text: Mapped[str] = derived("lower(name || ' ' || description || ' ' || coalesce(message_subject, ''))")


class CampaignTaskUser(Owned, Base):
    """One of the users that a campaign's task is distributed over, in the order they were given."""

    __tablename__ = "campaign_task_users"
    __table_args__ = (
        refers_to("campaigns", "campaign_id", ondelete="CASCADE"),
        refers_to("users", "user_id", ondelete="CASCADE"),
    )

    campaign_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int]


class Recipient(Owned, Stamped, Base):
    """One contact of one campaign, with the state of its delivery.

    `attempt`: how often it was begun to hand the message over. `due_at`: not to be tried again before.
    """

    __tablename__ = "recipients"
    __table_args__ = (
        refers_to("campaigns", "campaign_id", ondelete="CASCADE"),
        refers_to("contacts", "contact_id", ondelete="SET NULL (contact_id)"),
        one_of("status", DeliveryStatus),
        # The contact comes first, so that no other index than those with the id begins with the campaign: where the
        # planner has not heard of a campaign yet, it takes all of these for equally good, and reads it from end to end.
        UniqueConstraint("company_id", "contact_id", "campaign_id"),
        # Lists of a campaign are read from it, and reports refer to it, so that none can name another campaign.
        UniqueConstraint("company_id", "campaign_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    campaign_id: Mapped[UUID]
    contact_id: Mapped[UUID | None]
    status: Mapped[DeliveryStatus] = mapped_column(Text, server_default=DeliveryStatus.QUEUED)
    address: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    attempt: Mapped[int] = mapped_column(server_default="0")
    due_at: Mapped[datetime | None]


class CampaignMessage(Owned, Stamped, Base):
    """What one recipient was actually sent; it shares the recipient's id and is made when it is rendered."""

    __tablename__ = "campaign_messages"
    __table_args__ = (refers_to("recipients", "id", ondelete="CASCADE"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    subject: Mapped[str | None]
    content: Mapped[str]


class DeliveryReport(Owned, Base):
    """One event in the delivery of one message; the campaign stands here too, for exports by campaign."""

    __tablename__ = "delivery_reports"
    __table_args__ = (
        ForeignKeyConstraint(
            ["company_id", "campaign_id", "recipient_id"],
            ["recipients.company_id", "recipients.campaign_id", "recipients.id"],
            ondelete="CASCADE",
        ),
        one_of("status", DeliveryStatus),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    recipient_id: Mapped[int] = mapped_column(BigInteger)
    campaign_id: Mapped[UUID]
    status: Mapped[DeliveryStatus] = mapped_column(Text)
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())
    reply: Mapped[str | None]


class CampaignSettings(Owned, Base):
    """How a company's campaigns are sent; the last five columns are kept for clients of the old API."""

    __tablename__ = "campaign_settings"
    __table_args__ = (
        refers_to("templates", "consent_template_id", ondelete="SET NULL (consent_template_id)"),
        CheckConstraint("NOT consent_enabled OR consent_unsubscribe_url IS NOT NULL", name="consent"),
    )

    domain: Mapped[str | None] = mapped_column(String(253))
    domain_slug: Mapped[str | None] = mapped_column(String(63))
    domain_slug_suffix: Mapped[str] = mapped_column(String(253))
    consent_enabled: Mapped[bool] = mapped_column(server_default="false")
    consent_unsubscribe_url: Mapped[str | None]
    consent_template_id: Mapped[int | None]
    consent_subscribe_url: Mapped[str | None]
    consent_subject: Mapped[str | None]
    consent_content: Mapped[str | None]
    consent_help_text: Mapped[str | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


# Two companies with one slug would send from one domain.
Index("campaign_settings_slug_key", CampaignSettings.domain_slug, CampaignSettings.domain_slug_suffix, unique=True)
Index("relations_paths_name_idx", RelationsPath.company_id, RelationsPath.sort_name, RelationsPath.id)
Index("templates_title_idx", Template.company_id, Template.sort_title, Template.id)
Index("templates_created_idx", Template.company_id, Template.created_at, Template.id)
Index("templates_updated_idx", Template.company_id, Template.updated_at, Template.id)
Index("templates_user_idx", Template.company_id, Template.user_id, Template.sort_title, Template.id)
Index("templates_team_idx", Template.company_id, Template.team_id, Template.sort_title, Template.id)
Index("templates_group_idx", Template.company_id, Template.group_id, Template.sort_title, Template.id)
# Workers look over all companies.
Index(
    "campaigns_due_idx",
    Campaign.send_at,
    postgresql_where=(Campaign.status == CampaignStatus.PENDING) & Campaign.approved,
)
Index(
    "campaigns_sending_idx",
    Campaign.company_id,
    Campaign.id,
    postgresql_where=Campaign.status == CampaignStatus.SENDING,
)
Index("campaigns_created_idx", Campaign.company_id, Campaign.created_at, Campaign.id)
Index("campaigns_updated_idx", Campaign.company_id, Campaign.updated_at, Campaign.id)
Index("campaigns_name_idx", Campaign.company_id, Campaign.sort_name, Campaign.id)
Index("campaigns_send_at_idx", Campaign.company_id, Campaign.sort_send_at, Campaign.id)
Index("campaigns_sent_at_idx", Campaign.company_id, Campaign.sort_sent_at, Campaign.id)
Index("campaigns_status_idx", Campaign.company_id, Campaign.status, Campaign.created_at, Campaign.id)
Index("campaigns_type_idx", Campaign.company_id, Campaign.type, Campaign.created_at, Campaign.id)
Index("campaigns_team_idx", Campaign.company_id, Campaign.team_id, Campaign.created_at, Campaign.id)
Index("campaigns_group_idx", Campaign.company_id, Campaign.group_id, Campaign.created_at, Campaign.id)
Index("campaigns_user_idx", Campaign.company_id, Campaign.user_id, Campaign.created_at, Campaign.id)
Index("campaigns_template_idx", Campaign.company_id, Campaign.template_id, Campaign.created_at, Campaign.id)
Index(
    "campaigns_relations_path_idx",
    Campaign.company_id,
    Campaign.task_relations_path_id,
    Campaign.created_at,
    Campaign.id,
)
Index("campaign_task_users_user_idx", CampaignTaskUser.company_id, CampaignTaskUser.user_id)
Index("recipients_status_idx", Recipient.company_id, Recipient.campaign_id, Recipient.status, Recipient.id)
Index("recipients_contact_idx", Recipient.company_id, Recipient.contact_id, Recipient.id)
Index("delivery_reports_recipient_idx", DeliveryReport.company_id, DeliveryReport.recipient_id)
Index(
    "delivery_reports_campaign_idx",
    DeliveryReport.company_id,
    DeliveryReport.campaign_id,
    DeliveryReport.occurred_at,
    DeliveryReport.id,
)
Index(
    "delivery_reports_occurred_idx",
    DeliveryReport.company_id,
    DeliveryReport.occurred_at,
    DeliveryReport.id,
)

"""What is kept of what clients asked for once: answers that must not be made twice, previews, and test mails."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer, LargeBinary, String, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from store.models.base import Base, JsonValue, Owned, one_of, refers_to

KEYS_ARE_KEPT = timedelta(hours=24)
TEST_MAILS_ARE_KEPT = timedelta(days=30)


class TestDeliveryStatus(StrEnum):
    __test__ = False  # pytest would take the name for a test's

    QUEUED = "QUEUED"
    SENT = "SENT"
    FAILED = "FAILED"


class IdempotencyKey(Owned, Base):
    """What a user's request with this key led to; written in the transaction that made it."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (refers_to("users", "user_id", ondelete="CASCADE"),)

    user_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    result: Mapped[list[JsonValue]] = mapped_column(server_default=text("'[]'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Preview(Owned, Base):
    """A rendered page that a signed link shows until `expires_at`."""

    __tablename__ = "previews"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    html: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]


class TestDelivery(Owned, Base):
    """One test mail to one address, as it was rendered when it was asked for."""

    __test__ = False
    __tablename__ = "test_deliveries"
    __table_args__ = (
        refers_to("users", "user_id", ondelete="CASCADE"),
        refers_to("campaigns", "campaign_id", ondelete="SET NULL (campaign_id)"),
        one_of("status", TestDeliveryStatus),
        CheckConstraint("(status = 'QUEUED') = (finished_at IS NULL)", name="finished"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    user_id: Mapped[int]
    campaign_id: Mapped[UUID | None]
    status: Mapped[TestDeliveryStatus] = mapped_column(Text, server_default=TestDeliveryStatus.QUEUED)
    email: Mapped[str] = mapped_column(String(254))
    sender: Mapped[str] = mapped_column(String(254))
    subject: Mapped[str]
    html: Mapped[str]
    text: Mapped[str]
    # The message as it is handed over, byte for byte (RFC 5322).
    message: Mapped[bytes] = mapped_column(LargeBinary)
    headers: Mapped[list[JsonValue]]
    reply: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # Since when a worker is handing it over: if none comes to an end with it, it may have gone out.
    handing_over_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


# Workers look over all companies.
Index("test_deliveries_sweep_idx", TestDelivery.created_at)
Index("idempotency_keys_created_idx", IdempotencyKey.company_id, IdempotencyKey.created_at)
Index("previews_expires_idx", Preview.company_id, Preview.expires_at)
Index("test_deliveries_created_idx", TestDelivery.company_id, TestDelivery.created_at, TestDelivery.id)
Index(
    "test_deliveries_user_idx", TestDelivery.company_id, TestDelivery.user_id, TestDelivery.created_at, TestDelivery.id
)
Index(
    "test_deliveries_campaign_idx",
    TestDelivery.company_id,
    TestDelivery.campaign_id,
    TestDelivery.created_at,
    TestDelivery.id,
)

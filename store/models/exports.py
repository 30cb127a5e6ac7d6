"""What was asked to be written to a file, how far it is, and the file it became."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, String, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from store.models.base import Base, JsonValue, Owned, Stamped, one_of, refers_to


class ExportKind(StrEnum):
    CONTACTS = "CONTACTS"
    DELIVERY_REPORTS = "DELIVERY_REPORTS"
    CAMPAIGN_RECIPIENTS = "CAMPAIGN_RECIPIENTS"
    MAILING = "MAILING"
    LETTERS = "LETTERS"


class ExportFormat(StrEnum):
    CSV = "CSV"
    XLSX = "XLSX"
    JSONL = "JSONL"
    ZIP = "ZIP"


class ExportStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"


class File(Owned, Base):
    """The bytes that an export became; `key` names them in the file store and is never shown."""

    __tablename__ = "files"
    __table_args__ = (CheckConstraint("bytes >= 0", name="bytes"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    name: Mapped[str] = mapped_column(String(255))
    content_type: Mapped[str] = mapped_column(String(255))
    key: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]


class Export(Owned, Stamped, Base):
    """`attempt` is the number of the claim whose worker may write here: a write under another one changes nothing.

    `sequence` grows with every write that readers may want to see. `as_of`: rows that were made later are not in it.
    `columns`: what its file holds, as a list of `{name, header}`. `checkpoint`: what the next attempt goes on from
    (`jobs/exports`); never shown. `heartbeat_at`: the last sign of life of the worker that writes it.
    """

    __tablename__ = "exports"
    __table_args__ = (
        refers_to("users", "requested_by_id"),
        refers_to("campaigns", "campaign_id", ondelete="CASCADE"),
        refers_to("files", "file_id", ondelete="SET NULL (file_id)"),
        refers_to("exports", "regenerated_from_id", ondelete="SET NULL (regenerated_from_id)"),
        one_of("kind", ExportKind),
        one_of("format", ExportFormat),
        one_of("status", ExportStatus),
        # Who may see an export is decided by its campaign, so one of a campaign must name it.
        CheckConstraint("kind NOT IN ('CAMPAIGN_RECIPIENTS', 'LETTERS') OR campaign_id IS NOT NULL", name="campaign"),
        CheckConstraint("rows_processed >= 0", name="rows_processed"),
        CheckConstraint("rows_total >= 0", name="rows_total"),
        CheckConstraint("bytes >= 0", name="bytes"),
        CheckConstraint("status <> 'COMPLETED' OR file_id IS NOT NULL", name="completed_file"),
        CheckConstraint("(status = 'FAILED') = (error_code IS NOT NULL)", name="failed_error"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    kind: Mapped[ExportKind] = mapped_column(Text)
    format: Mapped[ExportFormat] = mapped_column(Text)
    status: Mapped[ExportStatus] = mapped_column(Text, server_default=ExportStatus.PENDING)
    parameters: Mapped[dict[str, JsonValue]] = mapped_column(server_default=text("'{}'"))
    requested_by_id: Mapped[int]
    campaign_id: Mapped[UUID | None]
    exported_at: Mapped[datetime | None]
    updated_in_db_at: Mapped[datetime] = mapped_column(server_default=func.now())
    rows_total: Mapped[int | None]
    rows_processed: Mapped[int] = mapped_column(server_default="0")
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    file_id: Mapped[UUID | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None]
    regenerated_from_id: Mapped[UUID | None]
    attempt: Mapped[int] = mapped_column(server_default="0")
    sequence: Mapped[int] = mapped_column(BigInteger, server_default="0")
    as_of: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    rows_per_second: Mapped[float | None]
    columns: Mapped[list[JsonValue] | None]
    checkpoint: Mapped[dict[str, JsonValue] | None]


# The sweep looks over all companies.
Index("files_expires_idx", File.expires_at)
Index(
    "exports_waiting_idx",
    Export.company_id,
    Export.id,
    postgresql_where=Export.status.in_([ExportStatus.PENDING, ExportStatus.RUNNING, ExportStatus.CANCELING]),
)
Index("exports_created_idx", Export.company_id, Export.created_at, Export.id)
Index("exports_kind_idx", Export.company_id, Export.kind, Export.created_at, Export.id)
Index("exports_status_idx", Export.company_id, Export.status, Export.created_at, Export.id)
Index("exports_user_idx", Export.company_id, Export.requested_by_id, Export.created_at, Export.id)
Index("exports_campaign_idx", Export.company_id, Export.campaign_id, Export.created_at, Export.id)
Index("exports_file_idx", Export.company_id, Export.file_id)
Index("exports_regenerated_idx", Export.company_id, Export.regenerated_from_id, Export.created_at, Export.id)

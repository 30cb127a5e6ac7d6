"""What does a client see of exports and their files?"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from resolvers import exports as export_edges
from schema import inputs
from schema.fields import column, computed, connection, grouped, to_one
from schema.nodes import Node, global_id
from schema.registry import object_type, row_type
from schema.scalars import URL, BigInt
from store.models import ExportFormat, ExportKind, ExportStatus


@row_type(export_edges.EXPORT, "Why an export was given up.")
class ExportError:
    code: str = column("error_code", "The reason, for programs.")
    message: str | None = column("error_message", "The reason, for people.")


@row_type(export_edges.EXPORT, "How far the writing of an export is, as its worker last told.")
class ExportProgress:
    sequence: BigInt = column(
        "sequence", "Grows with every change of the export: the later of two states has the larger."
    )
    rows_processed: int = column("rows_processed", "How many rows are written.")
    rows_total: int | None = column("rows_total", "How many rows it will have; null until they are counted.")
    percent: float | None = column("percent", "How much of it is written, from 0 to 100; null until it is known.")
    rows_per_second: float | None = column("rows_per_second", "How many rows are written in a second, lately.")
    seconds_remaining: float | None = column("seconds_remaining", "How long it will take at this pace; a guess.")
    started_at: datetime | None = column("started_at", "When a worker first took it.")
    heartbeat_at: datetime | None = column("heartbeat_at", "The last sign of life of its worker.")
    stalled: bool = column(
        "stalled", "Whether its worker has given no sign of life for 15 seconds; another will go on with it."
    )


def name_of(root: strawberry.Parent[dict[str, str]]) -> str:
    return root["name"]


def header_of(root: strawberry.Parent[dict[str, str]]) -> str:
    return root["header"]


@strawberry.type(description="A column of an export.")
class ExportColumn:
    name: str = strawberry.field(
        resolver=name_of, description="Its name, for `columns` and as the key of a line of JSONL."
    )
    header: str = strawberry.field(resolver=header_of, description="What stands above it in CSV and XLSX.")


@strawberry.type(description="A link to a file. Whoever has it can download the file, so keep it as a secret.")
class DownloadUrl:
    url: URL = strawberry.field(description="Where the file is; made anew each time that it is asked for.")
    expires_at: datetime = strawberry.field(description="When the link ends; ask for another one then.")


@object_type(export_edges.EXPORT, "Data that was asked for as a file, and how far the file is.")
class Export(Node):
    id: strawberry.ID = global_id(export_edges.EXPORT)
    database_id: UUID = column("id", "The export's id as the old API had it.")
    kind: ExportKind = column("kind", "What it holds.")
    format: ExportFormat = column("format", "How it is written.")
    status: ExportStatus = column("status", "How far it is.")
    parameters: JSON = column("parameters", "What was asked for.")
    exported_at: datetime | None = column("exported_at", "When the file was complete.")
    rows_total: int | None = column("rows_total", "How many rows it will have; null until they are counted.")
    rows_processed: int = column("rows_processed", "How many rows are written.")
    progress: ExportProgress = grouped("How far it is, and how fast it goes.")
    columns: list[ExportColumn] | None = column("columns", "What each row has; null until a worker has taken it.")
    as_of: datetime | None = column("as_of", "What was made after this time is not in it.")
    bytes: BigInt | None = column("bytes", "The size of the file.")
    sha256: str | None = column("sha256", "The SHA-256 of the file, in hexadecimal.")
    is_available_for_download: bool = column(
        "is_available_for_download", "Whether the file can be had now: complete, and its life not over."
    )
    download_url: DownloadUrl | None = computed(
        export_edges.DOWNLOAD_COLUMNS,
        export_edges.download_link,
        "A link to the file, good for some minutes; null unless the file can be had now. Takes the scope `export`.",
    )
    error: ExportError | None = grouped("Why it was given up; null unless it FAILED.", present="error_code")
    created_at: datetime = column("created_at", "When it was asked for.")
    updated_at: datetime = column("updated_at", "When it last changed.")
    updated_in_db_at: datetime = column(
        "updated_in_db_at", "When it last changed here; clients that work offline compare by it."
    )

    requested_by = to_one(export_edges.EXPORT_USER, "Who asked for it.")
    campaign = to_one(export_edges.EXPORT_CAMPAIGN, "The campaign it is of; null when it is not of one.", nullable=True)
    file = to_one(export_edges.EXPORT_FILE, "The file; null until it is complete.", nullable=True)
    regenerated_from = to_one(
        export_edges.EXPORT_REGENERATED_FROM, "The expired export that it repeats.", nullable=True
    )
    regenerations = connection(
        export_edges.EXPORT_REGENERATIONS,
        "The exports that repeat it.",
        inputs.ExportOrder,
        inputs.ExportFilter,
    )


@object_type(export_edges.FILE, "What an export became.")
class File(Node):
    id: strawberry.ID = global_id(export_edges.FILE)
    database_id: UUID = column("id", "The file's id as the old API had it.")
    name: str = column("name", "The file's name.")
    content_type: str = column("content_type", "The file's media type.")
    bytes: BigInt = column("bytes", "The file's size.")
    sha256: str = column("sha256", "The SHA-256 of the file, in hexadecimal.")
    created_at: datetime = column("created_at", "When the file was complete.")
    expires_at: datetime = column("expires_at", "When the file is deleted.")

    export = to_one(export_edges.FILE_EXPORT, "The export that it belongs to.", nullable=True)

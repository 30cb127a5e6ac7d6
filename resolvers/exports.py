"""How are exports and their files read?"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ARRAY, Double, Integer, Text, and_, any_, case, cast, func, join

from resolvers.campaigns import CAMPAIGN
from resolvers.context import Context, DownloadLink, StoredFile
from resolvers.edges import Filter, One, Paged
from resolvers.errors import ClientError, ErrorCode
from resolvers.pages import Direction, Sort, SortKind
from resolvers.people import USER
from resolvers.sources import Source
from store import access
from store.models import Export, ExportStatus, File, TokenScope
from store.sql_types import AnyRow

# Workers write a sign of life every few seconds, however slowly the rows come.
STALLED_AFTER = timedelta(seconds=15)
IN_HAND = Export.status.in_([ExportStatus.RUNNING, ExportStatus.CANCELING])

EXPORT = Source(
    "Export",
    Export,
    access.exports,
    inherited=access.whole_company(Export),
    rows=join(Export, File, and_(File.company_id == Export.company_id, File.id == Export.file_id), isouter=True),
    extra={
        "is_available_for_download": func.coalesce(
            and_(Export.status == ExportStatus.COMPLETED, File.expires_at > func.now()), False
        ),
        "percent": case(
            (Export.status == ExportStatus.COMPLETED, 100.0),
            (
                Export.rows_total > 0,
                func.least(100.0, cast(Export.rows_processed, Double()) * 100 / func.nullif(Export.rows_total, 0)),
            ),
        ),
        "seconds_remaining": case(
            (
                IN_HAND & (Export.rows_per_second > 0),
                func.greatest(0.0, (Export.rows_total - Export.rows_processed) / Export.rows_per_second),
            ),
        ),
        "stalled": IN_HAND & (func.coalesce(Export.heartbeat_at, Export.created_at) < func.now() - STALLED_AFTER),
        "file_name": File.name.expression,
        "file_content_type": File.content_type.expression,
        "file_key": File.key.expression,
        "file_expires_at": File.expires_at.expression,
    },
)
FILE = Source("File", File, access.files)

SORTS = {"CREATED_AT": Sort(Export.created_at, SortKind.TIME)}
FILTERS = {
    "kind_in": Filter(ARRAY(Text()), lambda wanted: Export.kind == any_(wanted)),
    "status_in": Filter(ARRAY(Text()), lambda wanted: Export.status == any_(wanted)),
    "requested_by_id_in": Filter(ARRAY(Integer()), lambda wanted: Export.requested_by_id == any_(wanted), USER.keys),
}
EXPORTS_PAGE_SIZE = 10


def exports_of(name: str, *, key: str, child_key: str, parent_decides: bool = False) -> Paged:
    """The exports of a parent, newest first, ten a page as the old API had it."""
    return Paged(
        name,
        EXPORT,
        key=key,
        child_key=child_key,
        sorts=SORTS,
        order="CREATED_AT",
        direction=Direction.DESC,
        filters=FILTERS,
        parent_decides=parent_decides,
        page_size=EXPORTS_PAGE_SIZE,
    )


EXPORTS = exports_of("Query.exports", key="company_id", child_key="company_id")
USER_EXPORTS = exports_of("User.exports", key="id", child_key="requested_by_id")
CAMPAIGN_EXPORTS = exports_of("Campaign.exports", key="id", child_key="campaign_id", parent_decides=True)
EXPORT_REGENERATIONS = exports_of("Export.regenerations", key="id", child_key="regenerated_from_id")

EXPORT_USER = One("Export.requestedBy", USER, key="requested_by_id")
EXPORT_CAMPAIGN = One("Export.campaign", CAMPAIGN, key="campaign_id")
EXPORT_FILE = One("Export.file", FILE, key="file_id")
EXPORT_REGENERATED_FROM = One("Export.regeneratedFrom", EXPORT, key="regenerated_from_id")
FILE_EXPORT = One("File.export", EXPORT, key="id", child_key="file_id")

DOWNLOAD_COLUMNS = (
    "company_id",
    "file_id",
    "file_name",
    "file_content_type",
    "file_expires_at",
    "file_key",
    "is_available_for_download",
)


def stored_file(row: AnyRow) -> StoredFile:
    """The file of an export's row that has one; reads `DOWNLOAD_COLUMNS`."""
    return StoredFile(
        row.company_id, row.file_id, row.file_name, row.file_content_type, row.file_expires_at, row.file_key
    )


def download_link(row: AnyRow, context: Context) -> DownloadLink | None:
    """A new link to the export's file; None unless the file can be had now. Raises FORBIDDEN without the scope."""
    require_download_scope(context)
    if not row.is_available_for_download:
        return None
    return context.services.mint_link(stored_file(row))


def require_download_scope(context: Context) -> None:
    if TokenScope.EXPORT not in context.viewer.token_scopes:
        raise ClientError(ErrorCode.FORBIDDEN, "This token may not download exports.")

"""How are exports and their files read?"""

from __future__ import annotations

from sqlalchemy import ARRAY, Integer, Text, and_, any_, func, join

from resolvers import access
from resolvers.campaigns import CAMPAIGN
from resolvers.context import Context, DownloadLink, StoredFile
from resolvers.edges import Filter, One, Paged
from resolvers.errors import ClientError, ErrorCode
from resolvers.pages import Direction, Sort, SortKind
from resolvers.people import USER
from resolvers.sources import Source
from store.models import Export, ExportStatus, File, TokenScope
from store.sql_types import AnyRow

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

DOWNLOAD_COLUMNS = ("company_id", "file_id", "file_name", "file_expires_at", "is_available_for_download")


def download_link(row: AnyRow, context: Context) -> DownloadLink | None:
    """A new link to the export's file; None unless the file can be had now. Raises FORBIDDEN without the scope."""
    if TokenScope.EXPORT not in context.viewer.token_scopes:
        raise ClientError(ErrorCode.FORBIDDEN, "This token may not download exports.")
    if not row.is_available_for_download:
        return None
    return context.services.mint_link(StoredFile(row.company_id, row.file_id, row.file_name, row.file_expires_at))

"""When the mail of a notification begins to be handed over, and an index to search suppressed addresses by."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("notifications", sa.Column("handing_over_at", sa.DateTime(timezone=True), nullable=True))
    # Where the other trigram indexes are: row security lets them be used there.
    if op.get_bind().scalar(sa.text("SELECT to_regclass('contacts_search_idx') IS NOT NULL")):
        op.execute("CREATE INDEX suppressions_search_idx ON suppressions USING gin (address gin_trgm_ops)")


def downgrade() -> None:
    op.execute("DROP INDEX IF EXISTS suppressions_search_idx")
    op.drop_column("notifications", "handing_over_at")

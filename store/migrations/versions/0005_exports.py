"""What exports need to be written by workers: fenced progress, where to go on, jobs, and the sweep of their files."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

WORKER = "(SELECT current_setting('app.worker', true) = 'on')"
JOB_KINDS = ("TEST_MAIL", "EXPORT")
# Workers look for files whose life is over, in all companies; they change them in each company by itself.
SWEPT_TABLES = ("exports", "files")


def export_columns() -> list[sa.Column]:
    return [
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rows_per_second", sa.Float(), nullable=True),
        sa.Column("columns", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("checkpoint", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    ]


def upgrade() -> None:
    for column in export_columns():
        op.add_column("exports", column)
    op.create_check_constraint(op.f("exports_rows_total_check"), "exports", "rows_total >= 0")
    op.create_check_constraint(op.f("exports_bytes_check"), "exports", "bytes >= 0")
    op.create_check_constraint(op.f("files_bytes_check"), "files", "bytes >= 0")
    op.create_index("files_expires_idx", "files", ["expires_at"], unique=False)
    op.create_index(
        "exports_waiting_idx",
        "exports",
        ["company_id", "id"],
        unique=False,
        postgresql_where=sa.text("status IN ('PENDING', 'RUNNING', 'CANCELING')"),
    )
    op.add_column("jobs", sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
    kinds_are(JOB_KINDS)
    op.create_index("jobs_subject_key", "jobs", ["company_id", "subject_id", "kind"], unique=True)
    for table in SWEPT_TABLES:
        op.execute(f"CREATE POLICY sweep ON {table} FOR SELECT USING ({WORKER})")


def kinds_are(kinds: tuple[str, ...]) -> None:
    op.drop_constraint(op.f("jobs_kind_check"), "jobs")
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    op.create_check_constraint(op.f("jobs_kind_check"), "jobs", f"kind IN ({listed})")


def downgrade() -> None:
    for table in SWEPT_TABLES:
        op.execute(f"DROP POLICY sweep ON {table}")
    op.drop_index("jobs_subject_key", "jobs")
    op.execute("DELETE FROM jobs WHERE kind = 'EXPORT'")
    kinds_are(JOB_KINDS[:1])
    op.drop_column("jobs", "failures")
    op.drop_index("exports_waiting_idx", "exports")
    op.drop_index("files_expires_idx", "files")
    op.drop_constraint(op.f("files_bytes_check"), "files")
    op.drop_constraint(op.f("exports_bytes_check"), "exports")
    op.drop_constraint(op.f("exports_rows_total_check"), "exports")
    for column in reversed(export_columns()):
        op.drop_column("exports", column.name)

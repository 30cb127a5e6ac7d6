"""What the mutations need: pauses, slugs of one company each, idempotency keys, previews, test mails, and the jobs of the workers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

APPLICATION_ROLE = "campaign_gateway"
OWNED_TABLES = ("idempotency_keys", "jobs", "previews", "test_deliveries")
COMPANY = "(SELECT nullif(current_setting('app.company_id', true), '')::integer)"
WORKER = "(SELECT current_setting('app.worker', true) = 'on')"
# Workers look for what is to be done, and for what is over, in all companies.
SWEPT_TABLES = ("idempotency_keys", "previews", "test_deliveries")


def upgrade() -> None:
    create_tables()
    op.create_check_constraint(
        op.f("campaigns_paused_check"), "campaigns", "paused_at IS NULL OR status IN ('PENDING', 'SENDING')"
    )
    op.create_index(
        "campaign_settings_slug_key", "campaign_settings", ["domain_slug", "domain_slug_suffix"], unique=True
    )
    for table in OWNED_TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY company ON {table} USING (company_id = {COMPANY}) WITH CHECK (company_id = {COMPANY})"
        )
    op.execute(f"CREATE POLICY worker ON jobs USING ({WORKER}) WITH CHECK ({WORKER})")
    for table in SWEPT_TABLES:
        op.execute(f"CREATE POLICY sweep ON {table} FOR SELECT USING ({WORKER})")
        op.execute(f"CREATE POLICY sweep_away ON {table} FOR DELETE USING ({WORKER})")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(OWNED_TABLES)} TO {APPLICATION_ROLE}")


def create_tables() -> None:
    op.create_table(
        "jobs",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('TEST_MAIL')", name=op.f("jobs_kind_check")),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("jobs_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("jobs_pkey")),
    )
    op.create_index("jobs_due_idx", "jobs", ["due_at", "id"], unique=False)
    op.create_table(
        "previews",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("previews_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("previews_pkey")),
    )
    op.create_index("previews_expires_idx", "previews", ["company_id", "expires_at"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "user_id"],
            ["users.company_id", "users.id"],
            name=op.f("idempotency_keys_company_id_user_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("idempotency_keys_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "user_id", "key", name=op.f("idempotency_keys_pkey")),
    )
    op.create_index("idempotency_keys_created_idx", "idempotency_keys", ["company_id", "created_at"], unique=False)
    op.create_table(
        "test_deliveries",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), server_default="QUEUED", nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("sender", sa.String(length=254), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reply", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("handing_over_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(status = 'QUEUED') = (finished_at IS NULL)", name=op.f("test_deliveries_finished_check")),
        sa.CheckConstraint("status IN ('QUEUED', 'SENT', 'FAILED')", name=op.f("test_deliveries_status_check")),
        sa.ForeignKeyConstraint(
            ["company_id", "campaign_id"],
            ["campaigns.company_id", "campaigns.id"],
            name=op.f("test_deliveries_company_id_campaign_id_fkey"),
            ondelete="SET NULL (campaign_id)",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "user_id"],
            ["users.company_id", "users.id"],
            name=op.f("test_deliveries_company_id_user_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("test_deliveries_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("test_deliveries_pkey")),
    )
    op.create_index(
        "test_deliveries_campaign_idx",
        "test_deliveries",
        ["company_id", "campaign_id", "created_at", "id"],
        unique=False,
    )
    op.create_index("test_deliveries_created_idx", "test_deliveries", ["company_id", "created_at", "id"], unique=False)
    op.create_index("test_deliveries_sweep_idx", "test_deliveries", ["created_at"], unique=False)
    op.create_index(
        "test_deliveries_user_idx", "test_deliveries", ["company_id", "user_id", "created_at", "id"], unique=False
    )
    op.add_column("campaigns", sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for table in reversed(OWNED_TABLES):
        op.drop_table(table)
    op.drop_index("campaign_settings_slug_key", "campaign_settings")
    op.drop_constraint(op.f("campaigns_paused_check"), "campaigns")
    op.drop_column("campaigns", "paused_at")

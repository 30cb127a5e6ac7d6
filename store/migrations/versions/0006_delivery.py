"""What the sending of campaigns needs: how it went, calls as tasks, addresses that are not mailed, and notifications."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"

APPLICATION_ROLE = "campaign_gateway"
OWNED_TABLES = ("campaign_deliveries", "notifications", "suppressions", "campaign_tasks")
COMPANY = "(SELECT nullif(current_setting('app.company_id', true), '')::integer)"
WORKER = "(SELECT current_setting('app.worker', true) = 'on')"
JOB_KINDS = ("TEST_MAIL", "EXPORT", "CAMPAIGN", "NOTICE")
DELIVERY_STATUSES = (
    "QUEUED", "SENDING", "SENT", "DELIVERED", "DEFERRED", "BOUNCED", "FAILED", "UNSUBSCRIBED", "UNKNOWN", "CANCELED",
)  # fmt: skip
PROBLEMS = (
    "EMPTY_AUDIENCE", "NOBODY_REACHED", "NOT_APPROVED", "NO_FILTER", "BROKEN_FILTER", "NO_DOMAIN", "NO_CONTENT",
    "TEMPLATE_DELETED", "MAIL_SERVER_UNAVAILABLE", "LETTERS_FAILED", "DEADLINE_PASSED", "INTERNAL_ERROR",
)  # fmt: skip
TABLES_WITH_STATUSES = ("recipients", "delivery_reports")


def upgrade() -> None:
    create_tables()
    for table in OWNED_TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY company ON {table} USING (company_id = {COMPANY}) WITH CHECK (company_id = {COMPANY})"
        )
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(OWNED_TABLES)} TO {APPLICATION_ROLE}")
    # Workers look for campaigns that are due, in all companies; they change them in each company by itself.
    op.execute(f"CREATE POLICY sweep ON campaigns FOR SELECT USING ({WORKER})")
    op.add_column("campaigns", sa.Column("template_deleted", sa.Boolean(), server_default="false", nullable=False))
    op.create_index(
        "campaigns_due_idx",
        "campaigns",
        ["send_at"],
        unique=False,
        postgresql_where=sa.text("status = 'PENDING' AND approved"),
    )
    op.create_index(
        "campaigns_sending_idx",
        "campaigns",
        ["company_id", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'SENDING'"),
    )
    op.add_column("recipients", sa.Column("attempt", sa.Integer(), server_default="0", nullable=False))
    op.add_column("recipients", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(
        op.f("campaigns_template_deleted_check"), "campaigns", "NOT template_deleted OR template_id IS NULL"
    )
    values_are("jobs", "kind", JOB_KINDS)
    for table in TABLES_WITH_STATUSES:
        values_are(table, "status", DELIVERY_STATUSES)


def create_tables() -> None:
    op.create_table(
        "campaign_deliveries",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recipients", sa.Integer(), server_default="0", nullable=False),
        sa.Column("excluded", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("sender", sa.String(length=320), nullable=True),
        sa.Column("template_content", sa.Text(), nullable=True),
        sa.Column("margin_top", sa.Float(), nullable=True),
        sa.Column("margin_right", sa.Float(), nullable=True),
        sa.Column("margin_bottom", sa.Float(), nullable=True),
        sa.Column("margin_left", sa.Float(), nullable=True),
        sa.Column("per_second", sa.Float(), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("problem_code", sa.Text(), nullable=True),
        sa.Column("problem_message", sa.Text(), nullable=True),
        sa.CheckConstraint(
            f"problem_code IN ({listed(PROBLEMS)})", name=op.f("campaign_deliveries_problem_code_check")
        ),
        sa.CheckConstraint(
            "(problem_code IS NULL) = (problem_message IS NULL)", name=op.f("campaign_deliveries_problem_check")
        ),
        sa.CheckConstraint("recipients >= 0", name=op.f("campaign_deliveries_recipients_check")),
        sa.ForeignKeyConstraint(
            ["company_id", "campaign_id"],
            ["campaigns.company_id", "campaigns.id"],
            name=op.f("campaign_deliveries_company_id_campaign_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("campaign_deliveries_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "campaign_id", name=op.f("campaign_deliveries_pkey")),
    )
    op.create_table(
        "notifications",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('LETTERS_READY', 'CAMPAIGN_COMPLETED', 'CAMPAIGN_FAILED')", name=op.f("notifications_kind_check")
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "campaign_id"],
            ["campaigns.company_id", "campaigns.id"],
            name=op.f("notifications_company_id_campaign_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "user_id"],
            ["users.company_id", "users.id"],
            name=op.f("notifications_company_id_user_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("notifications_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("notifications_pkey")),
    )
    op.create_index("notifications_campaign_idx", "notifications", ["company_id", "campaign_id"], unique=False)
    op.create_index(
        "notifications_user_idx", "notifications", ["company_id", "user_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "suppressions",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("address", sa.String(length=320, collation="C"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("reason IN ('BOUNCED', 'REFUSED', 'COMPLAINED')", name=op.f("suppressions_reason_check")),
        sa.ForeignKeyConstraint(
            ["company_id", "campaign_id"],
            ["campaigns.company_id", "campaigns.id"],
            name=op.f("suppressions_company_id_campaign_id_fkey"),
            ondelete="SET NULL (campaign_id)",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("suppressions_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("suppressions_pkey")),
        sa.UniqueConstraint("company_id", "address", name=op.f("suppressions_company_id_address_key")),
    )
    op.create_index("suppressions_campaign_idx", "suppressions", ["company_id", "campaign_id"], unique=False)
    op.create_index("suppressions_created_idx", "suppressions", ["company_id", "created_at", "id"], unique=False)
    op.create_table(
        "campaign_tasks",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("recipient_id", sa.BigInteger(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_by_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(done_at IS NULL) = (done_by_id IS NULL)", name=op.f("campaign_tasks_done_check")),
        sa.CheckConstraint("end_at > start_at", name=op.f("campaign_tasks_window_check")),
        sa.ForeignKeyConstraint(
            ["company_id", "campaign_id"],
            ["campaigns.company_id", "campaigns.id"],
            name=op.f("campaign_tasks_company_id_campaign_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "contact_id"],
            ["contacts.company_id", "contacts.id"],
            name=op.f("campaign_tasks_company_id_contact_id_fkey"),
            ondelete="SET NULL (contact_id)",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "done_by_id"],
            ["users.company_id", "users.id"],
            name=op.f("campaign_tasks_company_id_done_by_id_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "recipient_id"],
            ["recipients.company_id", "recipients.id"],
            name=op.f("campaign_tasks_company_id_recipient_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "user_id"],
            ["users.company_id", "users.id"],
            name=op.f("campaign_tasks_company_id_user_id_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("campaign_tasks_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("campaign_tasks_pkey")),
        sa.UniqueConstraint("company_id", "recipient_id", name=op.f("campaign_tasks_company_id_recipient_id_key")),
    )
    op.create_index(
        "campaign_tasks_campaign_idx", "campaign_tasks", ["company_id", "campaign_id", "start_at", "id"], unique=False
    )
    op.create_index("campaign_tasks_done_by_idx", "campaign_tasks", ["company_id", "done_by_id"], unique=False)
    op.create_index("campaign_tasks_contact_idx", "campaign_tasks", ["company_id", "contact_id"], unique=False)
    op.create_index(
        "campaign_tasks_user_idx", "campaign_tasks", ["company_id", "user_id", "start_at", "id"], unique=False
    )


def values_are(table: str, column: str, values: tuple[str, ...]) -> None:
    name = op.f(f"{table}_{column}_check")
    op.drop_constraint(name, table)
    op.create_check_constraint(name, table, f"{column} IN ({listed(values)})")


def listed(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def downgrade() -> None:
    for table in TABLES_WITH_STATUSES:
        op.execute(f"DELETE FROM {table} WHERE status = 'CANCELED'")
        values_are(table, "status", DELIVERY_STATUSES[:-1])
    op.execute("DELETE FROM jobs WHERE kind IN ('CAMPAIGN', 'NOTICE')")
    values_are("jobs", "kind", JOB_KINDS[:2])
    op.execute("DROP POLICY sweep ON campaigns")
    op.drop_column("recipients", "due_at")
    op.drop_column("recipients", "attempt")
    op.drop_index("campaigns_sending_idx", "campaigns")
    op.drop_index("campaigns_due_idx", "campaigns")
    op.drop_constraint(op.f("campaigns_template_deleted_check"), "campaigns")
    op.drop_column("campaigns", "template_deleted")
    for table in reversed(OWNED_TABLES):
        op.drop_table(table)

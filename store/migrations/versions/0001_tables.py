"""Every table of the first version, with its constraints and indexes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "companies",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("time_zone", sa.String(length=64), server_default="UTC", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("companies_pkey")),
    )
    op.create_table(
        "accounts",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("b2c", sa.Boolean(), server_default="false", nullable=False),
        sa.Column(
            "fixed_fields", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column(
            "custom_fields", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("sort_name", sa.Text(), sa.Computed("lower(name)", persisted=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("accounts_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("accounts_pkey")),
    )
    op.create_index("accounts_name_idx", "accounts", ["company_id", "sort_name", "id"], unique=False)
    op.create_table(
        "contact_lists",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("sort_name", sa.Text(), sa.Computed("lower(name)", persisted=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("contact_lists_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("contact_lists_pkey")),
    )
    op.create_index("contact_lists_created_idx", "contact_lists", ["company_id", "created_at", "id"], unique=False)
    op.create_index("contact_lists_name_idx", "contact_lists", ["company_id", "sort_name", "id"], unique=False)
    op.create_table(
        "fields",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("custom", sa.Boolean(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=255), nullable=False),
        sa.Column("validation", sa.String(length=64), nullable=True),
        sa.Column("required", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("hidden", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("read_only", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("sort_order", sa.Integer(), server_default="0", nullable=False),
        sa.Column("choices", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint("owner IN ('CONTACT', 'ACCOUNT')", name=op.f("fields_owner_check")),
        sa.CheckConstraint(
            "type IN ('TEXT', 'DATE', 'INTEGER', 'NUMBER', 'BOOLEAN', 'SINGLE_CHOICE', 'MULTIPLE_CHOICE')",
            name=op.f("fields_type_check"),
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("fields_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("fields_pkey")),
    )
    op.create_index("fields_name_key", "fields", ["company_id", "owner", "custom", "name"], unique=True)
    op.create_index("fields_sort_order_idx", "fields", ["company_id", "sort_order", "id"], unique=False)
    op.create_table(
        "files",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("content_type", sa.String(length=255), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("files_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("files_pkey")),
    )
    op.create_table(
        "groups",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("sort_name", sa.Text(), sa.Computed("lower(name)", persisted=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("groups_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("groups_pkey")),
    )
    op.create_index("groups_name_idx", "groups", ["company_id", "sort_name", "id"], unique=False)
    op.create_table(
        "relations_paths",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("sort_name", sa.Text(), sa.Computed("lower(name)", persisted=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("relations_paths_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("relations_paths_pkey")),
    )
    op.create_index("relations_paths_name_idx", "relations_paths", ["company_id", "sort_name", "id"], unique=False)
    op.create_table(
        "users",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("first_name", sa.String(length=255), nullable=False),
        sa.Column("last_name", sa.String(length=255), nullable=False),
        sa.Column("phone_number", sa.String(length=64), nullable=True),
        sa.Column("job_title", sa.String(length=255), nullable=True),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("email_notifications", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("profile_picture", sa.Text(), nullable=True),
        sa.Column("is_system_user", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("role", sa.Text(), server_default="MEMBER", nullable=False),
        sa.Column(
            "sort_name", sa.Text(), sa.Computed("lower(last_name || ' ' || first_name)", persisted=True), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("role IN ('ADMIN', 'MANAGER', 'MEMBER')", name=op.f("users_role_check")),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("users_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("users_pkey")),
    )
    op.create_index("users_created_idx", "users", ["company_id", "created_at", "id"], unique=False)
    op.create_index("users_email_key", "users", ["company_id", sa.literal_column("lower(email)")], unique=True)
    op.create_index("users_id_key", "users", ["id"], unique=True)
    op.create_index("users_name_idx", "users", ["company_id", "sort_name", "id"], unique=False)
    op.create_table(
        "access_tokens",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["company_id", "user_id"],
            ["users.company_id", "users.id"],
            name=op.f("access_tokens_company_id_user_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("access_tokens_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("access_tokens_pkey")),
    )
    op.create_index("access_tokens_id_key", "access_tokens", ["id"], unique=True)
    op.create_index("access_tokens_user_idx", "access_tokens", ["company_id", "user_id"], unique=False)
    op.create_table(
        "teams",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("group_id", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("sort_name", sa.Text(), sa.Computed("lower(name)", persisted=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "group_id"],
            ["groups.company_id", "groups.id"],
            name=op.f("teams_company_id_group_id_fkey"),
            ondelete="SET NULL (group_id)",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("teams_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("teams_pkey")),
    )
    op.create_index("teams_group_idx", "teams", ["company_id", "group_id", "sort_name", "id"], unique=False)
    op.create_index("teams_name_idx", "teams", ["company_id", "sort_name", "id"], unique=False)
    op.create_table(
        "contacts",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("b2c", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("team_id", sa.Integer(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("salutation", sa.Text(), nullable=True),
        sa.Column("first_name", sa.Text(), nullable=True),
        sa.Column("last_name", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("mobile_phone_number", sa.Text(), nullable=True),
        sa.Column("landline_phone_number", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("zip_code", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("state_region", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("date_of_birth", sa.Date(), nullable=True),
        sa.Column(
            "custom_fields", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("latest_activity_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "social_profile", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("email_consent_given", sa.Boolean(), nullable=True),
        sa.Column("email_consent_updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("letter_consent_given", sa.Boolean(), nullable=True),
        sa.Column("letter_consent_updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("call_consent_given", sa.Boolean(), nullable=True),
        sa.Column("call_consent_updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sms_consent_given", sa.Boolean(), nullable=True),
        sa.Column("sms_consent_updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "sort_latest_activity_at",
            sa.DateTime(timezone=True),
            sa.Computed("coalesce(latest_activity_at, 'infinity'::timestamptz)", persisted=True),
            nullable=False,
        ),
        sa.Column(
            "sort_name",
            sa.Text(),
            sa.Computed("lower(coalesce(last_name, '') || ' ' || coalesce(first_name, ''))", persisted=True),
            nullable=False,
        ),
        sa.Column(
            "search_text",
            sa.Text(),
            sa.Computed(
                "lower(coalesce(first_name, '') || ' ' || coalesce(last_name, '') || ' ' || coalesce(email, ''))",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('LEAD', 'OPPORTUNITY', 'CUSTOMER')", name=op.f("contacts_status_check")),
        sa.ForeignKeyConstraint(
            ["company_id", "account_id"],
            ["accounts.company_id", "accounts.id"],
            name=op.f("contacts_company_id_account_id_fkey"),
            ondelete="SET NULL (account_id)",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "team_id"],
            ["teams.company_id", "teams.id"],
            name=op.f("contacts_company_id_team_id_fkey"),
            ondelete="SET NULL (team_id)",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "user_id"],
            ["users.company_id", "users.id"],
            name=op.f("contacts_company_id_user_id_fkey"),
            ondelete="SET NULL (user_id)",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("contacts_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("contacts_pkey")),
    )
    op.create_index("contacts_account_idx", "contacts", ["company_id", "account_id", "created_at", "id"], unique=False)
    op.create_index("contacts_created_idx", "contacts", ["company_id", "created_at", "id"], unique=False)
    op.create_index("contacts_email_idx", "contacts", ["company_id", sa.literal_column("lower(email)")], unique=False)
    op.create_index(
        "contacts_latest_activity_idx", "contacts", ["company_id", "sort_latest_activity_at", "id"], unique=False
    )
    op.create_index("contacts_name_idx", "contacts", ["company_id", "sort_name", "id"], unique=False)
    op.create_index("contacts_status_idx", "contacts", ["company_id", "status", "created_at", "id"], unique=False)
    op.create_index("contacts_team_idx", "contacts", ["company_id", "team_id", "created_at", "id"], unique=False)
    op.create_index("contacts_updated_idx", "contacts", ["company_id", "updated_at", "id"], unique=False)
    op.create_index("contacts_user_idx", "contacts", ["company_id", "user_id", "created_at", "id"], unique=False)
    op.create_table(
        "team_members",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("team_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "team_id"],
            ["teams.company_id", "teams.id"],
            name=op.f("team_members_company_id_team_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "user_id"],
            ["users.company_id", "users.id"],
            name=op.f("team_members_company_id_user_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("team_members_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "team_id", "user_id", name=op.f("team_members_pkey")),
    )
    op.create_index("team_members_user_idx", "team_members", ["company_id", "user_id"], unique=False)
    op.create_table(
        "templates",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("team_id", sa.Integer(), nullable=True),
        sa.Column("group_id", sa.Integer(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("campaign", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("content", sa.Text(), server_default="", nullable=False),
        sa.Column("margin_top", sa.Double(), nullable=True),
        sa.Column("margin_right", sa.Double(), nullable=True),
        sa.Column("margin_bottom", sa.Double(), nullable=True),
        sa.Column("margin_left", sa.Double(), nullable=True),
        sa.Column("sort_title", sa.Text(), sa.Computed("lower(title)", persisted=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("type IN ('EMAIL', 'LETTER')", name=op.f("templates_type_check")),
        sa.CheckConstraint(
            "least(margin_top, margin_right, margin_bottom, margin_left) >= 0", name=op.f("templates_margins_check")
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "group_id"],
            ["groups.company_id", "groups.id"],
            name=op.f("templates_company_id_group_id_fkey"),
            ondelete="SET NULL (group_id)",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "team_id"],
            ["teams.company_id", "teams.id"],
            name=op.f("templates_company_id_team_id_fkey"),
            ondelete="SET NULL (team_id)",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "user_id"], ["users.company_id", "users.id"], name=op.f("templates_company_id_user_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("templates_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("templates_pkey")),
    )
    op.create_index("templates_created_idx", "templates", ["company_id", "created_at", "id"], unique=False)
    op.create_index("templates_group_idx", "templates", ["company_id", "group_id", "sort_title", "id"], unique=False)
    op.create_index("templates_team_idx", "templates", ["company_id", "team_id", "sort_title", "id"], unique=False)
    op.create_index("templates_title_idx", "templates", ["company_id", "sort_title", "id"], unique=False)
    op.create_index("templates_updated_idx", "templates", ["company_id", "updated_at", "id"], unique=False)
    op.create_index("templates_user_idx", "templates", ["company_id", "user_id", "sort_title", "id"], unique=False)
    op.create_table(
        "campaign_settings",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("domain", sa.String(length=253), nullable=True),
        sa.Column("domain_slug", sa.String(length=63), nullable=True),
        sa.Column("domain_slug_suffix", sa.String(length=253), nullable=False),
        sa.Column("consent_enabled", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("consent_unsubscribe_url", sa.Text(), nullable=True),
        sa.Column("consent_template_id", sa.Integer(), nullable=True),
        sa.Column("consent_subscribe_url", sa.Text(), nullable=True),
        sa.Column("consent_subject", sa.Text(), nullable=True),
        sa.Column("consent_content", sa.Text(), nullable=True),
        sa.Column("consent_help_text", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "NOT consent_enabled OR consent_unsubscribe_url IS NOT NULL", name=op.f("campaign_settings_consent_check")
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "consent_template_id"],
            ["templates.company_id", "templates.id"],
            name=op.f("campaign_settings_company_id_consent_template_id_fkey"),
            ondelete="SET NULL (consent_template_id)",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("campaign_settings_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", name=op.f("campaign_settings_pkey")),
    )
    op.create_table(
        "campaigns",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("team_id", sa.Integer(), nullable=True),
        sa.Column("group_id", sa.Integer(), nullable=True),
        sa.Column("scope", sa.Text(), server_default="GLOBAL", nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("approved", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="DRAFT", nullable=False),
        sa.Column("message_subject", sa.Text(), nullable=True),
        sa.Column("message_content", sa.Text(), nullable=True),
        sa.Column("message_sender", sa.Text(), nullable=True),
        sa.Column("template_id", sa.Integer(), nullable=True),
        sa.Column("filter", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("send_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("total_sent", sa.Integer(), nullable=True),
        sa.Column("task_distribution_strategy", sa.Text(), nullable=True),
        sa.Column("task_relations_path_id", sa.Uuid(), nullable=True),
        sa.Column("task_start_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("task_end_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "sort_send_at",
            sa.DateTime(timezone=True),
            sa.Computed("coalesce(send_at, 'infinity'::timestamptz)", persisted=True),
            nullable=False,
        ),
        sa.Column(
            "sort_sent_at",
            sa.DateTime(timezone=True),
            sa.Computed("coalesce(sent_at, 'infinity'::timestamptz)", persisted=True),
            nullable=False,
        ),
        sa.Column("sort_name", sa.Text(), sa.Computed("lower(name)", persisted=True), nullable=False),
        sa.Column(
            "search_text",
            sa.Text(),
            sa.Computed("lower(name || ' ' || description || ' ' || coalesce(message_subject, ''))", persisted=True),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("scope <> 'GROUP' OR group_id IS NOT NULL", name=op.f("campaigns_scope_group_check")),
        sa.CheckConstraint("scope <> 'TEAM' OR team_id IS NOT NULL", name=op.f("campaigns_scope_team_check")),
        sa.CheckConstraint("scope IN ('GLOBAL', 'GROUP', 'TEAM', 'PERSONAL')", name=op.f("campaigns_scope_check")),
        sa.CheckConstraint(
            "status IN ('DRAFT', 'PENDING', 'SENDING', 'COMPLETED', 'FAILED', 'CANCELED')",
            name=op.f("campaigns_status_check"),
        ),
        sa.CheckConstraint(
            "task_distribution_strategy IN ('DISTRIBUTE', 'RESPONSIBLE_USER')",
            name=op.f("campaigns_task_distribution_strategy_check"),
        ),
        sa.CheckConstraint("type IN ('EMAIL', 'LETTER', 'TELEPHONE')", name=op.f("campaigns_type_check")),
        sa.CheckConstraint(
            "num_nonnulls(task_distribution_strategy, task_relations_path_id, task_start_at, task_end_at) IN (0, 4)",
            name=op.f("campaigns_task_complete_check"),
        ),
        sa.CheckConstraint("task_end_at > task_start_at", name=op.f("campaigns_task_window_check")),
        sa.CheckConstraint("total_sent >= 0", name=op.f("campaigns_total_sent_check")),
        sa.ForeignKeyConstraint(
            ["company_id", "group_id"],
            ["groups.company_id", "groups.id"],
            name=op.f("campaigns_company_id_group_id_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "task_relations_path_id"],
            ["relations_paths.company_id", "relations_paths.id"],
            name=op.f("campaigns_company_id_task_relations_path_id_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "team_id"], ["teams.company_id", "teams.id"], name=op.f("campaigns_company_id_team_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "template_id"],
            ["templates.company_id", "templates.id"],
            name=op.f("campaigns_company_id_template_id_fkey"),
            ondelete="SET NULL (template_id)",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "user_id"], ["users.company_id", "users.id"], name=op.f("campaigns_company_id_user_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("campaigns_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("campaigns_pkey")),
    )
    op.create_index("campaigns_created_idx", "campaigns", ["company_id", "created_at", "id"], unique=False)
    op.create_index("campaigns_group_idx", "campaigns", ["company_id", "group_id", "created_at", "id"], unique=False)
    op.create_index("campaigns_name_idx", "campaigns", ["company_id", "sort_name", "id"], unique=False)
    op.create_index(
        "campaigns_relations_path_idx",
        "campaigns",
        ["company_id", "task_relations_path_id", "created_at", "id"],
        unique=False,
    )
    op.create_index("campaigns_send_at_idx", "campaigns", ["company_id", "sort_send_at", "id"], unique=False)
    op.create_index("campaigns_sent_at_idx", "campaigns", ["company_id", "sort_sent_at", "id"], unique=False)
    op.create_index("campaigns_status_idx", "campaigns", ["company_id", "status", "created_at", "id"], unique=False)
    op.create_index("campaigns_team_idx", "campaigns", ["company_id", "team_id", "created_at", "id"], unique=False)
    op.create_index(
        "campaigns_template_idx", "campaigns", ["company_id", "template_id", "created_at", "id"], unique=False
    )
    op.create_index("campaigns_type_idx", "campaigns", ["company_id", "type", "created_at", "id"], unique=False)
    op.create_index("campaigns_updated_idx", "campaigns", ["company_id", "updated_at", "id"], unique=False)
    op.create_index("campaigns_user_idx", "campaigns", ["company_id", "user_id", "created_at", "id"], unique=False)
    op.create_table(
        "contact_list_members",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("list_id", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "contact_id"],
            ["contacts.company_id", "contacts.id"],
            name=op.f("contact_list_members_company_id_contact_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "list_id"],
            ["contact_lists.company_id", "contact_lists.id"],
            name=op.f("contact_list_members_company_id_list_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("contact_list_members_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "list_id", "contact_id", name=op.f("contact_list_members_pkey")),
    )
    op.create_index(
        "contact_list_members_contact_idx", "contact_list_members", ["company_id", "contact_id"], unique=False
    )
    op.create_table(
        "campaign_task_users",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "campaign_id"],
            ["campaigns.company_id", "campaigns.id"],
            name=op.f("campaign_task_users_company_id_campaign_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "user_id"],
            ["users.company_id", "users.id"],
            name=op.f("campaign_task_users_company_id_user_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("campaign_task_users_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "campaign_id", "user_id", name=op.f("campaign_task_users_pkey")),
    )
    op.create_index("campaign_task_users_user_idx", "campaign_task_users", ["company_id", "user_id"], unique=False)
    op.create_table(
        "exports",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column(
            "parameters", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("requested_by_id", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column("exported_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_in_db_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("rows_total", sa.Integer(), nullable=True),
        sa.Column("rows_processed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("file_id", sa.Uuid(), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("regenerated_from_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(status = 'FAILED') = (error_code IS NOT NULL)", name=op.f("exports_failed_error_check")),
        sa.CheckConstraint("format IN ('CSV', 'XLSX', 'JSONL', 'ZIP')", name=op.f("exports_format_check")),
        sa.CheckConstraint(
            "kind IN ('CONTACTS', 'DELIVERY_REPORTS', 'CAMPAIGN_RECIPIENTS', 'MAILING', 'LETTERS')",
            name=op.f("exports_kind_check"),
        ),
        sa.CheckConstraint(
            "kind NOT IN ('CAMPAIGN_RECIPIENTS', 'LETTERS') OR campaign_id IS NOT NULL",
            name=op.f("exports_campaign_check"),
        ),
        sa.CheckConstraint("status <> 'COMPLETED' OR file_id IS NOT NULL", name=op.f("exports_completed_file_check")),
        sa.CheckConstraint(
            "status IN ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'EXPIRED', 'CANCELING', 'CANCELED')",
            name=op.f("exports_status_check"),
        ),
        sa.CheckConstraint("rows_processed >= 0", name=op.f("exports_rows_processed_check")),
        sa.ForeignKeyConstraint(
            ["company_id", "campaign_id"],
            ["campaigns.company_id", "campaigns.id"],
            name=op.f("exports_company_id_campaign_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "file_id"],
            ["files.company_id", "files.id"],
            name=op.f("exports_company_id_file_id_fkey"),
            ondelete="SET NULL (file_id)",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "regenerated_from_id"],
            ["exports.company_id", "exports.id"],
            name=op.f("exports_company_id_regenerated_from_id_fkey"),
            ondelete="SET NULL (regenerated_from_id)",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "requested_by_id"],
            ["users.company_id", "users.id"],
            name=op.f("exports_company_id_requested_by_id_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("exports_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("exports_pkey")),
    )
    op.create_index("exports_campaign_idx", "exports", ["company_id", "campaign_id", "created_at", "id"], unique=False)
    op.create_index("exports_created_idx", "exports", ["company_id", "created_at", "id"], unique=False)
    op.create_index("exports_file_idx", "exports", ["company_id", "file_id"], unique=False)
    op.create_index("exports_kind_idx", "exports", ["company_id", "kind", "created_at", "id"], unique=False)
    op.create_index(
        "exports_regenerated_idx", "exports", ["company_id", "regenerated_from_id", "created_at", "id"], unique=False
    )
    op.create_index("exports_status_idx", "exports", ["company_id", "status", "created_at", "id"], unique=False)
    op.create_index("exports_user_idx", "exports", ["company_id", "requested_by_id", "created_at", "id"], unique=False)
    op.create_table(
        "recipients",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), server_default="QUEUED", nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('QUEUED', 'SENDING', 'SENT', 'DELIVERED', 'DEFERRED', 'BOUNCED', 'FAILED', 'UNSUBSCRIBED', 'UNKNOWN')",
            name=op.f("recipients_status_check"),
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "campaign_id"],
            ["campaigns.company_id", "campaigns.id"],
            name=op.f("recipients_company_id_campaign_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "contact_id"],
            ["contacts.company_id", "contacts.id"],
            name=op.f("recipients_company_id_contact_id_fkey"),
            ondelete="SET NULL (contact_id)",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("recipients_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("recipients_pkey")),
        sa.UniqueConstraint(
            "company_id", "campaign_id", "contact_id", name=op.f("recipients_company_id_campaign_id_contact_id_key")
        ),
        sa.UniqueConstraint("company_id", "campaign_id", "id", name=op.f("recipients_company_id_campaign_id_id_key")),
    )
    op.create_index("recipients_contact_idx", "recipients", ["company_id", "contact_id", "id"], unique=False)
    op.create_index("recipients_status_idx", "recipients", ["company_id", "campaign_id", "status", "id"], unique=False)
    op.create_table(
        "campaign_messages",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "id"],
            ["recipients.company_id", "recipients.id"],
            name=op.f("campaign_messages_company_id_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("campaign_messages_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("campaign_messages_pkey")),
    )
    op.create_table(
        "delivery_reports",
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("recipient_id", sa.BigInteger(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("reply", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('QUEUED', 'SENDING', 'SENT', 'DELIVERED', 'DEFERRED', 'BOUNCED', 'FAILED', 'UNSUBSCRIBED', 'UNKNOWN')",
            name=op.f("delivery_reports_status_check"),
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "campaign_id", "recipient_id"],
            ["recipients.company_id", "recipients.campaign_id", "recipients.id"],
            name=op.f("delivery_reports_company_id_campaign_id_recipient_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["company_id"], ["companies.id"], name=op.f("delivery_reports_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "id", name=op.f("delivery_reports_pkey")),
    )
    op.create_index(
        "delivery_reports_campaign_idx",
        "delivery_reports",
        ["company_id", "campaign_id", "occurred_at", "id"],
        unique=False,
    )
    op.create_index(
        "delivery_reports_occurred_idx", "delivery_reports", ["company_id", "occurred_at", "id"], unique=False
    )
    op.create_index("delivery_reports_recipient_idx", "delivery_reports", ["company_id", "recipient_id"], unique=False)


def downgrade() -> None:
    op.drop_index("delivery_reports_recipient_idx", table_name="delivery_reports")
    op.drop_index("delivery_reports_occurred_idx", table_name="delivery_reports")
    op.drop_index("delivery_reports_campaign_idx", table_name="delivery_reports")
    op.drop_table("delivery_reports")
    op.drop_table("campaign_messages")
    op.drop_index("recipients_status_idx", table_name="recipients")
    op.drop_index("recipients_contact_idx", table_name="recipients")
    op.drop_table("recipients")
    op.drop_index("exports_user_idx", table_name="exports")
    op.drop_index("exports_status_idx", table_name="exports")
    op.drop_index("exports_regenerated_idx", table_name="exports")
    op.drop_index("exports_kind_idx", table_name="exports")
    op.drop_index("exports_file_idx", table_name="exports")
    op.drop_index("exports_created_idx", table_name="exports")
    op.drop_index("exports_campaign_idx", table_name="exports")
    op.drop_table("exports")
    op.drop_index("campaign_task_users_user_idx", table_name="campaign_task_users")
    op.drop_table("campaign_task_users")
    op.drop_index("contact_list_members_contact_idx", table_name="contact_list_members")
    op.drop_table("contact_list_members")
    op.drop_index("campaigns_user_idx", table_name="campaigns")
    op.drop_index("campaigns_updated_idx", table_name="campaigns")
    op.drop_index("campaigns_type_idx", table_name="campaigns")
    op.drop_index("campaigns_template_idx", table_name="campaigns")
    op.drop_index("campaigns_team_idx", table_name="campaigns")
    op.drop_index("campaigns_status_idx", table_name="campaigns")
    op.drop_index("campaigns_sent_at_idx", table_name="campaigns")
    op.drop_index("campaigns_send_at_idx", table_name="campaigns")
    op.drop_index("campaigns_relations_path_idx", table_name="campaigns")
    op.drop_index("campaigns_name_idx", table_name="campaigns")
    op.drop_index("campaigns_group_idx", table_name="campaigns")
    op.drop_index("campaigns_created_idx", table_name="campaigns")
    op.drop_table("campaigns")
    op.drop_table("campaign_settings")
    op.drop_index("templates_user_idx", table_name="templates")
    op.drop_index("templates_updated_idx", table_name="templates")
    op.drop_index("templates_title_idx", table_name="templates")
    op.drop_index("templates_team_idx", table_name="templates")
    op.drop_index("templates_group_idx", table_name="templates")
    op.drop_index("templates_created_idx", table_name="templates")
    op.drop_table("templates")
    op.drop_index("team_members_user_idx", table_name="team_members")
    op.drop_table("team_members")
    op.drop_index("contacts_user_idx", table_name="contacts")
    op.drop_index("contacts_updated_idx", table_name="contacts")
    op.drop_index("contacts_team_idx", table_name="contacts")
    op.drop_index("contacts_status_idx", table_name="contacts")
    op.drop_index("contacts_name_idx", table_name="contacts")
    op.drop_index("contacts_latest_activity_idx", table_name="contacts")
    op.drop_index("contacts_email_idx", table_name="contacts")
    op.drop_index("contacts_created_idx", table_name="contacts")
    op.drop_index("contacts_account_idx", table_name="contacts")
    op.drop_table("contacts")
    op.drop_index("teams_name_idx", table_name="teams")
    op.drop_index("teams_group_idx", table_name="teams")
    op.drop_table("teams")
    op.drop_index("access_tokens_user_idx", table_name="access_tokens")
    op.drop_index("access_tokens_id_key", table_name="access_tokens")
    op.drop_table("access_tokens")
    op.drop_index("users_name_idx", table_name="users")
    op.drop_index("users_id_key", table_name="users")
    op.drop_index("users_email_key", table_name="users")
    op.drop_index("users_created_idx", table_name="users")
    op.drop_table("users")
    op.drop_index("relations_paths_name_idx", table_name="relations_paths")
    op.drop_table("relations_paths")
    op.drop_index("groups_name_idx", table_name="groups")
    op.drop_table("groups")
    op.drop_table("files")
    op.drop_index("fields_sort_order_idx", table_name="fields")
    op.drop_index("fields_name_key", table_name="fields")
    op.drop_table("fields")
    op.drop_index("contact_lists_name_idx", table_name="contact_lists")
    op.drop_index("contact_lists_created_idx", table_name="contact_lists")
    op.drop_table("contact_lists")
    op.drop_index("accounts_name_idx", table_name="accounts")
    op.drop_table("accounts")
    op.drop_table("companies")

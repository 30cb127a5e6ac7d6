"""The application's role, row security on the company as the second line, and trigram indexes where they can be."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

APPLICATION_ROLE = "campaign_gateway"
OWNED_TABLES = (
    "access_tokens",
    "accounts",
    "campaign_messages",
    "campaign_settings",
    "campaign_task_users",
    "campaigns",
    "contact_list_members",
    "contact_lists",
    "contacts",
    "delivery_reports",
    "exports",
    "fields",
    "files",
    "groups",
    "recipients",
    "relations_paths",
    "team_members",
    "teams",
    "templates",
    "users",
)
# A sub-select is evaluated once a statement; the bare function would be called for every row.
COMPANY = "(SELECT nullif(current_setting('app.company_id', true), '')::integer)"
TOKEN = "(SELECT nullif(current_setting('app.token_id', true), ''))"
USER = "(SELECT nullif(current_setting('app.user_id', true), '')::integer)"
SUPERUSER = "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
TRIGRAM_INDEXES = {"campaigns_search_idx": "campaigns", "contacts_search_idx": "contacts"}


def upgrade() -> None:
    create_application_role()
    for table in (*OWNED_TABLES, "companies"):
        key = "id" if table == "companies" else "company_id"
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY company ON {table} USING ({key} = {COMPANY}) WITH CHECK ({key} = {COMPANY})")
    # Before the company is known, a request may read the one token or the one user that it names.
    op.execute(f"CREATE POLICY sign_in ON access_tokens FOR SELECT USING (id = {TOKEN})")
    op.execute(f"CREATE POLICY sign_in ON users FOR SELECT USING (id = {USER})")
    if trigrams_usable():
        op.execute("ALTER FUNCTION pg_catalog.textlike(text, text) LEAKPROOF")
        op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        for name, table in TRIGRAM_INDEXES.items():
            op.execute(f"CREATE INDEX {name} ON {table} USING gin (search_text gin_trgm_ops)")


def create_application_role() -> None:
    # Another database of the server may have it already; then an administrator may have made it, and granted it to
    # an owner who could neither make roles nor grant this one. From version 16 on a member may not act as the role
    # unless the grant says SET, and version 15 does not know that word.
    op.execute(
        f"""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APPLICATION_ROLE}') THEN
                CREATE ROLE {APPLICATION_ROLE} NOLOGIN NOSUPERUSER NOBYPASSRLS;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END $$
        """
    )
    op.execute(
        f"""
        DO $$ BEGIN
            IF NOT pg_has_role(
                current_user, '{APPLICATION_ROLE}',
                CASE WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END
            ) THEN
                GRANT {APPLICATION_ROLE} TO CURRENT_USER;
            END IF;
        END $$
        """
    )
    op.execute(f"GRANT USAGE ON SCHEMA public TO {APPLICATION_ROLE}")
    op.execute(f"GRANT SELECT ON companies, alembic_version TO {APPLICATION_ROLE}")
    tables = ", ".join(OWNED_TABLES)
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {APPLICATION_ROLE}")


def trigrams_usable() -> bool:
    """Whether the server has pg_trgm, and row security will let an index of it answer LIKE.

    PostgreSQL searches an index beneath row security by leak-proof functions alone. LIKE fails for a malformed pattern and
    tells nothing of the row, but it is not marked, and a superuser alone may mark it.
    """
    return bool(
        op.get_bind().scalar(
            sa.text(
                "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm')"
                " AND has_database_privilege(current_database(), 'CREATE')"
                f" AND {SUPERUSER}"
            )
        )
    )


def downgrade() -> None:
    for name in TRIGRAM_INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
    if op.get_bind().scalar(sa.text(f"SELECT {SUPERUSER}")):
        op.execute("ALTER FUNCTION pg_catalog.textlike(text, text) NOT LEAKPROOF")
    op.execute("DROP POLICY sign_in ON access_tokens")
    op.execute("DROP POLICY sign_in ON users")
    for table in (*OWNED_TABLES, "companies"):
        op.execute(f"DROP POLICY company ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    # The role may serve other databases of the server, so it stays; its rights on this one go.
    op.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {APPLICATION_ROLE}")
    op.execute(f"REVOKE USAGE ON SCHEMA public FROM {APPLICATION_ROLE}")

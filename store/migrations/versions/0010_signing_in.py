"""Whom a token or a user's id names, by one call: each request begins with it."""

from alembic import op

revision = "0010"
down_revision = "0009"

# They run as whoever calls them, beneath row security: each names the one token or user that is asked for, and the
# company only then. What they name lasts as long as the transaction.
PERSON = """
    SELECT users.company_id, users.id, users.role::text, teams.team_ids, teams.group_ids
    FROM users LEFT JOIN LATERAL (
        SELECT array_agg(teams.id) AS team_ids,
            array_agg(DISTINCT teams.group_id) FILTER (WHERE teams.group_id IS NOT NULL) AS group_ids
        FROM team_members JOIN teams ON teams.company_id = team_members.company_id AND teams.id = team_members.team_id
        WHERE team_members.company_id = users.company_id AND team_members.user_id = users.id
    ) AS teams ON true
"""
PERSON_COLUMNS = "company_id integer, user_id integer, role text, team_ids integer[], group_ids integer[]"
FUNCTIONS = (
    f"""
    CREATE FUNCTION signed_in_by_token(asked_id text, asked_secret bytea)
    RETURNS TABLE ({PERSON_COLUMNS}, scopes text[], expires_at timestamptz, revoked_at timestamptz)
    LANGUAGE plpgsql AS $body$
    #variable_conflict use_column
    DECLARE token access_tokens;
    BEGIN
        PERFORM set_config('app.token_id', asked_id, true);
        SELECT * INTO token FROM access_tokens WHERE id = asked_id AND secret_sha256 = asked_secret;
        IF token.id IS NULL THEN RETURN; END IF;
        PERFORM set_config('app.company_id', token.company_id::text, true);
        RETURN QUERY SELECT person.*, token.scopes, token.expires_at, token.revoked_at
        FROM ({PERSON} WHERE users.company_id = token.company_id AND users.id = token.user_id) AS person;
    END $body$
    """,
    f"""
    CREATE FUNCTION signed_in_by_user(asked_id integer) RETURNS TABLE ({PERSON_COLUMNS})
    LANGUAGE plpgsql AS $body$
    #variable_conflict use_column
    DECLARE company integer;
    BEGIN
        PERFORM set_config('app.user_id', asked_id::text, true);
        SELECT company_id INTO company FROM users WHERE id = asked_id;
        IF company IS NULL THEN RETURN; END IF;
        PERFORM set_config('app.company_id', company::text, true);
        RETURN QUERY {PERSON} WHERE users.company_id = company AND users.id = asked_id;
    END $body$
    """,
)


def upgrade() -> None:
    for function in FUNCTIONS:
        op.execute(function)


def downgrade() -> None:
    op.execute("DROP FUNCTION signed_in_by_user(integer)")
    op.execute("DROP FUNCTION signed_in_by_token(text, bytea)")

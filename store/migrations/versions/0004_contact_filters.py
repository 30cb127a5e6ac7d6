"""What filters of contacts search: texts in small letters that sort by code point, with indexes on the most used."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

FOLDED = ("first_name", "last_name", "email", "zip_code", "city", "state_region", "country")
INDEXED = ("last_name", "email", "zip_code", "city")


def upgrade() -> None:
    # One statement, as each would write the whole table anew.
    columns = ", ".join(
        f'ADD COLUMN folded_{name} text COLLATE "C" GENERATED ALWAYS AS (lower({name})) STORED' for name in FOLDED
    )
    op.execute(f"ALTER TABLE contacts {columns}")
    for name in INDEXED:
        op.create_index(f"contacts_folded_{name}_idx", "contacts", ["company_id", f"folded_{name}", "id"], unique=False)
    # Row security never let it be used: `lower` is not leak-proof.
    op.drop_index("contacts_email_idx", table_name="contacts")


def downgrade() -> None:
    op.create_index("contacts_email_idx", "contacts", ["company_id", sa.literal_column("lower(email)")], unique=False)
    for name in INDEXED:
        op.drop_index(f"contacts_folded_{name}_idx", table_name="contacts")
    columns = ", ".join(f"DROP COLUMN folded_{name}" for name in FOLDED)
    op.execute(f"ALTER TABLE contacts {columns}")

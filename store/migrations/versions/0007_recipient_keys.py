"""A recipient's key begins with the contact.

No index but those that hold the id begins with the campaign, so that one of many recipients is always found by its id:
a planner that has not heard yet how many there are takes any index that begins with the campaign for equally good, and
reads all of them.
"""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_unique_constraint(
        op.f("recipients_company_id_contact_id_campaign_id_key"),
        "recipients",
        ["company_id", "contact_id", "campaign_id"],
    )
    op.drop_constraint(op.f("recipients_company_id_campaign_id_contact_id_key"), "recipients")


def downgrade() -> None:
    op.create_unique_constraint(
        op.f("recipients_company_id_campaign_id_contact_id_key"),
        "recipients",
        ["company_id", "campaign_id", "contact_id"],
    )
    op.drop_constraint(op.f("recipients_company_id_contact_id_campaign_id_key"), "recipients")

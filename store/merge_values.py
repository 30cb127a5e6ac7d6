"""What do the merge fields of a message stand for, contact by contact?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from sqlalchemy import ARRAY, Integer, Uuid, any_, bindparam, func, select

from store.filters.catalogue import FIXED_FIELDS
from store.models import Account, Contact, JsonValue, User
from store.sql_types import AnyRow, AnySelect

# A message may name a field a thousand times.
LONGEST_VALUE = 1_000
CONTACT_COLUMNS = tuple(FIXED_FIELDS)
USER_COLUMNS = ("first_name", "last_name", "email", "phone_number", "job_title")

# The contacts `:contact_ids` of the company `:company_id`, each with its account and its user; `:author_id` where it
# has none.
MERGE_ROWS: AnySelect = (
    select(
        Contact.id,
        *(getattr(Contact, name).label(f"contact_{name}") for name in CONTACT_COLUMNS),
        Contact.custom_fields,
        Account.name.label("account_name"),
        *(getattr(User, name).label(f"user_{name}") for name in USER_COLUMNS),
    )
    .outerjoin(Account, (Account.company_id == Contact.company_id) & (Account.id == Contact.account_id))
    .outerjoin(
        User,
        (User.company_id == Contact.company_id)
        & (User.id == func.coalesce(Contact.user_id, bindparam("author_id", type_=Integer()))),
    )
    .where(
        Contact.company_id == bindparam("company_id", type_=Integer()),
        Contact.id == any_(bindparam("contact_ids", type_=ARRAY(Uuid()))),
    )
)
# The user `:user_id` of the company, in the part of the contact as well: whom a message without a contact is for.
USER_ROW: AnySelect = select(*(getattr(User, name).label(f"user_{name}") for name in USER_COLUMNS)).where(
    User.company_id == bindparam("company_id", type_=Integer()), User.id == bindparam("user_id", type_=Integer())
)


def contact_values(row: AnyRow, unsubscribe_url: str) -> Mapping[str, str | None]:
    """The values by their merge fields' names, of a row of `MERGE_ROWS`."""
    found = {f"contact.{name}": as_text(getattr(row, f"contact_{name}")) for name in CONTACT_COLUMNS}
    found |= {f"contact.custom.{name}": as_text(value) for name, value in row.custom_fields.items()}
    return {**found, **user_values(row), "account.name": row.account_name, "unsubscribe_url": unsubscribe_url}


def user_as_contact(row: AnyRow, unsubscribe_url: str) -> Mapping[str, str | None]:
    """The values of a message that no contact gets: the user of `USER_ROW` reads it as one would."""
    names = ("first_name", "last_name", "email")
    found = {f"contact.{name}": getattr(row, f"user_{name}") for name in names}
    return {**found, **user_values(row), "unsubscribe_url": unsubscribe_url}


def user_values(row: AnyRow) -> Mapping[str, str | None]:
    return {f"user.{name}": getattr(row, f"user_{name}") for name in USER_COLUMNS}


def as_text(value: JsonValue | date) -> str | None:
    """What people read: dates as ISO 8601, choices with commas, yes and no in words; of a long text its head."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(text for entry in value if (text := as_text(entry)))[:LONGEST_VALUE]
    return value.isoformat() if isinstance(value, date) else str(value)[:LONGEST_VALUE]

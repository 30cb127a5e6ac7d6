"""Whom campaigns reach: accounts, contacts with their fields and consent, and the lists that hold them."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ARRAY, Computed, Identity, Index, Integer, String, Text, func, text
from sqlalchemy.orm import Mapped, MappedColumn, mapped_column

from store.models.base import Base, JsonValue, Owned, Stamped, derived, derived_time, one_of, refers_to


class ContactStatus(StrEnum):
    LEAD = "LEAD"
    OPPORTUNITY = "OPPORTUNITY"
    CUSTOMER = "CUSTOMER"


class FieldOwner(StrEnum):
    CONTACT = "CONTACT"
    ACCOUNT = "ACCOUNT"


class FieldType(StrEnum):
    TEXT = "TEXT"
    DATE = "DATE"
    INTEGER = "INTEGER"
    NUMBER = "NUMBER"
    BOOLEAN = "BOOLEAN"
    SINGLE_CHOICE = "SINGLE_CHOICE"
    MULTIPLE_CHOICE = "MULTIPLE_CHOICE"


def folded(column: str) -> MappedColumn[str | None]:
    """The column's text in small letters, for filters; it sorts by code point, so that texts with the same beginning
    are one range of an index, which row security lets PostgreSQL search (see `derived`).
    """
    return mapped_column(Text(collation="C"), Computed(f"lower({column})", persisted=True), sort_order=80)


class Account(Owned, Stamped, Base):
    __tablename__ = "accounts"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    name: Mapped[str] = mapped_column(String(255))
    b2c: Mapped[bool] = mapped_column(server_default="false")
    sort_name: Mapped[str] = derived("lower(name)")
    fixed_fields: Mapped[dict[str, JsonValue]] = mapped_column(server_default=text("'{}'"))
    custom_fields: Mapped[dict[str, JsonValue]] = mapped_column(server_default=text("'{}'"))


class Contact(Owned, Stamped, Base):
    """The thirteen fixed fields are columns, so that filters and exports find them indexed and typed."""

    __tablename__ = "contacts"
    __table_args__ = (
        refers_to("accounts", "account_id", ondelete="SET NULL (account_id)"),
        refers_to("users", "user_id", ondelete="SET NULL (user_id)"),
        refers_to("teams", "team_id", ondelete="SET NULL (team_id)"),
        one_of("status", ContactStatus),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    b2c: Mapped[bool] = mapped_column(server_default="false")
    account_id: Mapped[UUID | None]
    user_id: Mapped[int | None]
    team_id: Mapped[int | None]
    status: Mapped[ContactStatus | None] = mapped_column(Text)
    salutation: Mapped[str | None]
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    title: Mapped[str | None]
    email: Mapped[str | None]
    mobile_phone_number: Mapped[str | None]
    landline_phone_number: Mapped[str | None]
    address: Mapped[str | None]
    zip_code: Mapped[str | None]
    city: Mapped[str | None]
    state_region: Mapped[str | None]
    country: Mapped[str | None]
    date_of_birth: Mapped[date | None]
    custom_fields: Mapped[dict[str, JsonValue]] = mapped_column(server_default=text("'{}'"))
    latest_activity_at: Mapped[datetime | None]
    social_profile: Mapped[dict[str, JsonValue]] = mapped_column(server_default=text("'{}'"))
    email_consent_given: Mapped[bool | None]
    email_consent_updated_at: Mapped[datetime | None]
    letter_consent_given: Mapped[bool | None]
    letter_consent_updated_at: Mapped[datetime | None]
    call_consent_given: Mapped[bool | None]
    call_consent_updated_at: Mapped[datetime | None]
    sms_consent_given: Mapped[bool | None]
    sms_consent_updated_at: Mapped[datetime | None]
    sort_latest_activity_at: Mapped[datetime] = derived_time("latest_activity_at")
    sort_name: Mapped[str] = derived("lower(coalesce(last_name, '') || ' ' || coalesce(first_name, ''))")
    search_text: Mapped[str] = derived(
        "lower(coalesce(first_name, '') || ' ' || coalesce(last_name, '') || ' ' || coalesce(email, ''))"
    )
    folded_first_name: Mapped[str | None] = folded("first_name")
    folded_last_name: Mapped[str | None] = folded("last_name")
    folded_email: Mapped[str | None] = folded("email")
    folded_zip_code: Mapped[str | None] = folded("zip_code")
    folded_city: Mapped[str | None] = folded("city")
    folded_state_region: Mapped[str | None] = folded("state_region")
    folded_country: Mapped[str | None] = folded("country")


class Field(Owned, Base):
    """The definition of a fixed field (a column of the contact) or a custom field (a key of its JSON)."""

    __tablename__ = "fields"
    __table_args__ = (one_of("owner", FieldOwner), one_of("type", FieldType))

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    owner: Mapped[FieldOwner] = mapped_column(Text)
    custom: Mapped[bool]
    type: Mapped[FieldType] = mapped_column(Text)
    name: Mapped[str] = mapped_column(String(64))
    label: Mapped[str] = mapped_column(String(255))
    validation: Mapped[str | None] = mapped_column(String(64))
    required: Mapped[bool] = mapped_column(server_default="false")
    hidden: Mapped[bool] = mapped_column(server_default="false")
    read_only: Mapped[bool] = mapped_column(server_default="false")
    sort_order: Mapped[int] = mapped_column(server_default="0")
    choices: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))


class ContactList(Owned, Stamped, Base):
    __tablename__ = "contact_lists"

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    sort_name: Mapped[str] = derived("lower(name)")


class ContactListMember(Owned, Base):
    __tablename__ = "contact_list_members"
    __table_args__ = (
        refers_to("contact_lists", "list_id", ondelete="CASCADE"),
        refers_to("contacts", "contact_id", ondelete="CASCADE"),
    )

    list_id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[UUID] = mapped_column(primary_key=True)


Index("accounts_name_idx", Account.company_id, Account.sort_name, Account.id)
Index("contacts_name_idx", Contact.company_id, Contact.sort_name, Contact.id)
Index("contacts_created_idx", Contact.company_id, Contact.created_at, Contact.id)
Index("contacts_updated_idx", Contact.company_id, Contact.updated_at, Contact.id)
Index("contacts_latest_activity_idx", Contact.company_id, Contact.sort_latest_activity_at, Contact.id)
Index("contacts_account_idx", Contact.company_id, Contact.account_id, Contact.created_at, Contact.id)
Index("contacts_user_idx", Contact.company_id, Contact.user_id, Contact.created_at, Contact.id)
Index("contacts_team_idx", Contact.company_id, Contact.team_id, Contact.created_at, Contact.id)
Index("contacts_status_idx", Contact.company_id, Contact.status, Contact.created_at, Contact.id)
Index("contacts_folded_last_name_idx", Contact.company_id, Contact.folded_last_name, Contact.id)
Index("contacts_folded_email_idx", Contact.company_id, Contact.folded_email, Contact.id)
Index("contacts_folded_zip_code_idx", Contact.company_id, Contact.folded_zip_code, Contact.id)
Index("contacts_folded_city_idx", Contact.company_id, Contact.folded_city, Contact.id)
Index("fields_name_key", Field.company_id, Field.owner, Field.custom, Field.name, unique=True)
Index("fields_sort_order_idx", Field.company_id, Field.sort_order, Field.id)
Index("contact_lists_name_idx", ContactList.company_id, ContactList.sort_name, ContactList.id)
Index("contact_lists_created_idx", ContactList.company_id, ContactList.created_at, ContactList.id)
Index("contact_list_members_contact_idx", ContactListMember.company_id, ContactListMember.contact_id)

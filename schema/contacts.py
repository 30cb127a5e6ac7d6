"""What does a client see of accounts, contacts, their fields and lists?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from resolvers import contacts as contact_edges
from resolvers import fields as field_values
from resolvers import recipients as recipient_edges
from resolvers.context import Context
from resolvers.edges import Many
from schema import inputs
from schema.fields import column, computed, connection, grouped, to_many, to_one
from schema.nodes import Node, global_id
from schema.registry import object_type, row_type
from store.models import ContactStatus, FieldOwner, FieldType, JsonValue
from store.sql_types import AnyRow


@object_type(contact_edges.FIELD, "The definition of a field that contacts or accounts have in this company.")
class ContactField(Node):
    id: strawberry.ID = global_id(contact_edges.FIELD)
    database_id: int = column("id", "The field's number, as the old API had it.")
    owner: FieldOwner = column("owner", "Whose field it is.")
    custom: bool = column("custom", "Whether the company made it; the others are fixed.")
    type: FieldType = column("type", "What it holds.")
    name: str = column("name", "Its name in filters and merge fields.")
    label: str = column("label", "Its name for people.")
    validation: str | None = column("validation", "A rule that values keep, such as `email`.")
    required: bool = column("required", "Whether it must have a value.")
    hidden: bool = column("hidden", "Whether forms leave it out.")
    read_only: bool = column("read_only", "Whether people may not change it.")
    sort_order: int = column("sort_order", "Its place among the fields.")
    choices: list[str] = column("choices", "What may be chosen; empty unless it is a choice.")


@strawberry.type(description="A field of one contact or account, with its value.")
class FieldValue:
    id: strawberry.ID = strawberry.field(description="The global id of the field's definition.")
    database_id: int = strawberry.field(description="The field's number, as the old API had it.")
    type: FieldType = strawberry.field(description="What the field holds.")
    name: str = strawberry.field(description="Its name in filters and merge fields.")
    label: str = strawberry.field(description="Its name for people.")
    value: JSON | None = strawberry.field(
        description="A text, number, boolean or list, after the field's type; null when there is none."
    )
    validation: str | None = strawberry.field(description="A rule that values keep, such as `email`.")
    required: bool = strawberry.field(description="Whether it must have a value.")
    hidden: bool = strawberry.field(description="Whether forms leave it out.")
    read_only: bool = strawberry.field(description="Whether people may not change it.")
    sort_order: int = strawberry.field(description="Its place among the fields.")
    choices: list[str] = strawberry.field(description="What may be chosen; empty unless it is a choice.")


Values = Callable[[AnyRow], Mapping[str, JsonValue]]


def fields(edge: Many, columns: tuple[str, ...], values: Values, description: str) -> Any:
    """The fields of one kind with the values that the row has in these columns."""
    compute: Callable[..., Awaitable[object]] = partial(field_values.field_values, edge, values)
    return computed(("company_id", *columns), compute, description)


@object_type(contact_edges.ACCOUNT, "The organisation or household that contacts belong to.")
class Account(Node):
    id: strawberry.ID = global_id(contact_edges.ACCOUNT)
    database_id: UUID = column("id", "The account's id as the old API had it.")
    name: str = column("name", "The account's name.")
    b2c: bool = column("b2c", "Whether it is a household rather than an organisation.")
    fixed_fields: list[FieldValue] = fields(
        contact_edges.ACCOUNT_FIXED_FIELDS,
        ("fixed_fields",),
        field_values.json_values("fixed_fields"),
        "The fields that every account has.",
    )
    custom_fields: list[FieldValue] = fields(
        contact_edges.ACCOUNT_CUSTOM_FIELDS,
        ("custom_fields",),
        field_values.json_values("custom_fields"),
        "The fields that the company made for its accounts.",
    )
    created_at: datetime = column("created_at", "When the account was made.")
    updated_at: datetime = column("updated_at", "When the account was last changed.")

    contacts = connection(
        contact_edges.ACCOUNT_CONTACTS,
        "The contacts that belong to it.",
        inputs.ContactOrder,
        inputs.ContactFilter,
    )


@strawberry.type(description="Whether a contact may be reached by one channel.")
class ChannelConsent:
    consent_given: bool | None = strawberry.field(description="Yes or no; null when the contact was never asked.")
    updated_at: datetime | None = strawberry.field(description="When it was last said; null when never.")


def channel(name: str, description: str) -> Any:
    """The consent for one channel, from its two columns."""
    columns = (f"{name}_consent_given", f"{name}_consent_updated_at")

    def consent(row: AnyRow, _context: Context) -> ChannelConsent:
        given, updated_at = (getattr(row, column) for column in columns)
        return ChannelConsent(consent_given=given, updated_at=updated_at)

    return computed(columns, consent, description)


@row_type(contact_edges.CONTACT, "By which channels a contact may be reached.")
class Consent:
    email: ChannelConsent = channel("email", "E-mail.")
    letter: ChannelConsent = channel("letter", "Letters.")
    call: ChannelConsent = channel("call", "Telephone calls.")
    sms: ChannelConsent = channel("sms", "Text messages.")


@object_type(contact_edges.CONTACT, "A person that campaigns may reach.")
class Contact(Node):
    id: strawberry.ID = global_id(contact_edges.CONTACT)
    database_id: UUID = column("id", "The contact's id as the old API had it.")
    b2c: bool = column("b2c", "Whether it is a private person.")
    status: ContactStatus | None = column("status", "How the contact stands to the company.")
    first_name: str | None = column("first_name", "The fixed field `first_name`.")
    last_name: str | None = column("last_name", "The fixed field `last_name`.")
    email: str | None = column("email", "The fixed field `email`, as it was typed.")
    fixed_fields: list[FieldValue] = fields(
        contact_edges.CONTACT_FIXED_FIELDS,
        field_values.FIXED_CONTACT_COLUMNS,
        field_values.fixed_contact_values,
        "The fields that every contact has.",
    )
    custom_fields: list[FieldValue] = fields(
        contact_edges.CONTACT_CUSTOM_FIELDS,
        ("custom_fields",),
        field_values.json_values("custom_fields"),
        "The fields that the company made for its contacts.",
    )
    consent: Consent = grouped("By which channels the contact may be reached.")
    latest_activity_at: datetime | None = column("latest_activity_at", "When the contact last did something.")
    social_profile: JSON = column("social_profile", "What is known of the contact elsewhere: an object.")
    created_at: datetime = column("created_at", "When the contact was made.")
    updated_at: datetime = column("updated_at", "When the contact was last changed.")

    account = to_one(contact_edges.CONTACT_ACCOUNT, "The account it belongs to.", nullable=True)
    user = to_one(contact_edges.CONTACT_USER, "The user who is responsible for it.", nullable=True)
    team = to_one(contact_edges.CONTACT_TEAM, "The team it belongs to.", nullable=True)
    lists = to_many(contact_edges.CONTACT_CONTACT_LISTS, "The lists it is on, by name.")
    recipients = connection(
        recipient_edges.CONTACT_RECIPIENTS,
        "The campaigns it was chosen for, the latest first.",
        inputs.RecipientOrder,
        inputs.DeliveryFilter,
    )
    messages = connection(
        recipient_edges.CONTACT_MESSAGES,
        "What the contact was actually sent, the latest first.",
        inputs.RecipientOrder,
        inputs.DeliveryFilter,
    )


@object_type(contact_edges.CONTACT_LIST, "A named list that contacts are put on by hand.")
class ContactList(Node):
    id: strawberry.ID = global_id(contact_edges.CONTACT_LIST)
    database_id: int = column("id", "The list's number.")
    name: str = column("name", "The list's name.")
    created_at: datetime = column("created_at", "When the list was made.")
    updated_at: datetime = column("updated_at", "When the list was last changed.")

    contacts = connection(contact_edges.LIST_CONTACTS, "The contacts on it.", inputs.ContactOrder, inputs.ContactFilter)

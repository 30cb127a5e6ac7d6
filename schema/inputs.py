"""How may a client sort and narrow the lists?"""

from __future__ import annotations

import strawberry
from strawberry import UNSET

from resolvers.pages import Direction
from schema import enums
from schema.filters import ContactSelection
from store.models import (
    CampaignStatus,
    CampaignType,
    ContactStatus,
    DeliveryStatus,
    ExportKind,
    ExportStatus,
    FieldOwner,
    Role,
    SuppressionReason,
    TemplateType,
    TestDeliveryStatus,
)

FIELD = "What to sort by; rows with equal values stand in the order of their ids."
DIRECTION = "Which end comes first."
SEARCH = "Rows that contain this text, without regard to case; at most 200 characters."


@strawberry.input(description="The order of a list of campaigns.")
class CampaignOrder:
    field: enums.CampaignOrderField = strawberry.field(description=FIELD)
    direction: Direction = strawberry.field(description=DIRECTION, default=Direction.ASC)


@strawberry.input(description="The order of a list of templates.")
class TemplateOrder:
    field: enums.TemplateOrderField = strawberry.field(description=FIELD)
    direction: Direction = strawberry.field(description=DIRECTION, default=Direction.ASC)


@strawberry.input(description="The order of a list of contacts.")
class ContactOrder:
    field: enums.ContactOrderField = strawberry.field(description=FIELD)
    direction: Direction = strawberry.field(description=DIRECTION, default=Direction.ASC)


@strawberry.input(description="The order of a list of users.")
class UserOrder:
    field: enums.UserOrderField = strawberry.field(description=FIELD)
    direction: Direction = strawberry.field(description=DIRECTION, default=Direction.ASC)


@strawberry.input(description="The order of the contact lists.")
class ContactListOrder:
    field: enums.ContactListOrderField = strawberry.field(description=FIELD)
    direction: Direction = strawberry.field(description=DIRECTION, default=Direction.ASC)


@strawberry.input(description="The order of a list of named things.")
class NameOrder:
    field: enums.NameOrderField = strawberry.field(description=FIELD)
    direction: Direction = strawberry.field(description=DIRECTION, default=Direction.ASC)


@strawberry.input(description="The order of the field definitions.")
class ContactFieldOrder:
    field: enums.ContactFieldOrderField = strawberry.field(description=FIELD)
    direction: Direction = strawberry.field(description=DIRECTION, default=Direction.ASC)


@strawberry.input(description="The order of recipients and messages.")
class RecipientOrder:
    field: enums.RecipientOrderField = strawberry.field(description=FIELD)
    direction: Direction = strawberry.field(description=DIRECTION, default=Direction.ASC)


@strawberry.input(description="The order of delivery reports.")
class DeliveryReportOrder:
    field: enums.DeliveryReportOrderField = strawberry.field(description=FIELD)
    direction: Direction = strawberry.field(description=DIRECTION, default=Direction.ASC)


@strawberry.input(description="The order of exports.")
class ExportOrder:
    field: enums.ExportOrderField = strawberry.field(description=FIELD)
    direction: Direction = strawberry.field(description=DIRECTION, default=Direction.ASC)


@strawberry.input(description="The order of the tasks of campaigns.")
class CampaignTaskOrder:
    field: enums.CampaignTaskOrderField = strawberry.field(description=FIELD)
    direction: Direction = strawberry.field(description=DIRECTION, default=Direction.ASC)


@strawberry.input(description="The order of notifications.")
class NotificationOrder:
    field: enums.NotificationOrderField = strawberry.field(description=FIELD)
    direction: Direction = strawberry.field(description=DIRECTION, default=Direction.ASC)


@strawberry.input(description="The order of suppressions.")
class SuppressionOrder:
    field: enums.SuppressionOrderField = strawberry.field(description=FIELD)
    direction: Direction = strawberry.field(description=DIRECTION, default=Direction.ASC)


@strawberry.input(description="The order of test mails.")
class TestDeliveryOrder:
    __test__ = False

    field: enums.TestDeliveryOrderField = strawberry.field(description=FIELD)
    direction: Direction = strawberry.field(description=DIRECTION, default=Direction.ASC)


@strawberry.input(description="Which test mails to keep.")
class TestDeliveryFilter:
    __test__ = False

    status_in: list[TestDeliveryStatus] | None = strawberry.field(description="In one of these states.", default=UNSET)


@strawberry.input(description="Which campaigns to keep.")
class CampaignFilter:
    status_in: list[CampaignStatus] | None = strawberry.field(description="In one of these states.", default=UNSET)
    type_in: list[CampaignType] | None = strawberry.field(description="Of one of these types.", default=UNSET)
    team_id_in: list[strawberry.ID] | None = strawberry.field(description="Of one of these teams.", default=UNSET)
    search: str | None = strawberry.field(
        description=f"In name, description or subject: {SEARCH.lower()}", default=UNSET
    )
    type: CampaignType | None = strawberry.field(
        description="Of this type.", default=UNSET, deprecation_reason="Use typeIn. Removal: 2027-11-01."
    )


@strawberry.input(description="Which templates to keep.")
class TemplateFilter:
    type_in: list[TemplateType] | None = strawberry.field(description="Of one of these types.", default=UNSET)
    campaign: bool | None = strawberry.field(description="Made for campaigns, or not.", default=UNSET)
    search: str | None = strawberry.field(description=f"In the title: {SEARCH.lower()}", default=UNSET)


@strawberry.input(description="Which contacts to keep.")
class ContactFilter:
    status_in: list[ContactStatus] | None = strawberry.field(description="In one of these states.", default=UNSET)
    b2c: bool | None = strawberry.field(description="Private persons, or not.", default=UNSET)
    search: str | None = strawberry.field(description=f"In name or e-mail: {SEARCH.lower()}", default=UNSET)
    where: ContactSelection | None = strawberry.field(
        description="Selected by a condition, as campaigns select their contacts.", default=UNSET
    )


@strawberry.input(description="Which users to keep.")
class UserFilter:
    role_in: list[Role] | None = strawberry.field(description="With one of these roles.", default=UNSET)
    search: str | None = strawberry.field(description=f"In the name: {SEARCH.lower()}", default=UNSET)


@strawberry.input(description="Which field definitions to keep.")
class ContactFieldFilter:
    owner: FieldOwner | None = strawberry.field(description="Fields of contacts, or of accounts.", default=UNSET)
    custom: bool | None = strawberry.field(description="Custom fields, or fixed ones.", default=UNSET)


@strawberry.input(description="Which recipients, messages or reports to keep.")
class DeliveryFilter:
    status_in: list[DeliveryStatus] | None = strawberry.field(description="In one of these states.", default=UNSET)


@strawberry.input(description="Which exports to keep.")
class ExportFilter:
    kind_in: list[ExportKind] | None = strawberry.field(description="Of one of these kinds.", default=UNSET)
    status_in: list[ExportStatus] | None = strawberry.field(description="In one of these states.", default=UNSET)
    requested_by_id_in: list[strawberry.ID] | None = strawberry.field(
        description="Asked for by one of these users.", default=UNSET
    )


@strawberry.input(description="Which tasks of campaigns to keep.")
class CampaignTaskFilter:
    done: bool | None = strawberry.field(description="Done, or not.", default=UNSET)
    overdue: bool | None = strawberry.field(
        description="Not done although their end has come, or not so.", default=UNSET
    )
    user_id_in: list[strawberry.ID] | None = strawberry.field(description="For one of these users.", default=UNSET)


@strawberry.input(description="Which notifications to keep.")
class NotificationFilter:
    unread: bool | None = strawberry.field(description="Unread, or marked as read.", default=UNSET)


@strawberry.input(description="Which suppressions to keep.")
class SuppressionFilter:
    reason_in: list[SuppressionReason] | None = strawberry.field(description="For one of these reasons.", default=UNSET)
    search: str | None = strawberry.field(description=f"In the address: {SEARCH.lower()}", default=UNSET)

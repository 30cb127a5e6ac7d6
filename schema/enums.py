"""What do the values of the enums mean? Their descriptions, for the people in GraphiQL."""

from __future__ import annotations

from enum import StrEnum

import strawberry
from strawberry.types.enum import StrawberryEnumDefinition

from resolvers.changes.campaign_life import CampaignAction
from resolvers.changes.user_errors import UserErrorCode
from resolvers.deliveries import CampaignOutcome
from resolvers.pages import Direction
from store.audience import ExclusionReason
from store.models import (
    CampaignProblem,
    CampaignScope,
    CampaignStatus,
    CampaignType,
    ContactStatus,
    DeliveryStatus,
    DistributionStrategy,
    ExportFormat,
    ExportKind,
    ExportStatus,
    FieldOwner,
    FieldType,
    NotificationKind,
    Role,
    SuppressionReason,
    TemplateType,
    TestDeliveryStatus,
    TokenScope,
)


class CampaignOrderField(StrEnum):
    CREATED_AT = "CREATED_AT"
    UPDATED_AT = "UPDATED_AT"
    NAME = "NAME"
    SEND_AT = "SEND_AT"
    SENT_AT = "SENT_AT"


class TemplateOrderField(StrEnum):
    TITLE = "TITLE"
    CREATED_AT = "CREATED_AT"
    UPDATED_AT = "UPDATED_AT"


class ContactOrderField(StrEnum):
    CREATED_AT = "CREATED_AT"
    UPDATED_AT = "UPDATED_AT"
    NAME = "NAME"
    LATEST_ACTIVITY_AT = "LATEST_ACTIVITY_AT"


class UserOrderField(StrEnum):
    NAME = "NAME"
    CREATED_AT = "CREATED_AT"


class ContactListOrderField(StrEnum):
    NAME = "NAME"
    CREATED_AT = "CREATED_AT"


class NameOrderField(StrEnum):
    NAME = "NAME"


class ContactFieldOrderField(StrEnum):
    SORT_ORDER = "SORT_ORDER"


class RecipientOrderField(StrEnum):
    ID = "ID"


class DeliveryReportOrderField(StrEnum):
    OCCURRED_AT = "OCCURRED_AT"


class ExportOrderField(StrEnum):
    CREATED_AT = "CREATED_AT"


class CampaignTaskOrderField(StrEnum):
    START_AT = "START_AT"
    END_AT = "END_AT"


class NotificationOrderField(StrEnum):
    CREATED_AT = "CREATED_AT"


class SuppressionOrderField(StrEnum):
    CREATED_AT = "CREATED_AT"


class TestDeliveryOrderField(StrEnum):
    __test__ = False  # pytest would take the name for a test's

    CREATED_AT = "CREATED_AT"


def describe(enum: type[StrEnum], description: str, deprecated: dict[str, str] | None = None, **values: str) -> None:
    """Makes an enum a GraphQL enum; every value must be described."""
    strawberry.enum(enum, description=description)
    definition = vars(enum)["__strawberry_definition__"]
    assert isinstance(definition, StrawberryEnumDefinition)
    for value in definition.values:
        value.description = values[value.name]
        value.deprecation_reason = (deprecated or {}).get(value.name)


CREATED = "When the row was made."
UPDATED = "When the row was last changed."

describe(Direction, "Which end of an order comes first.", ASC="The smallest first.", DESC="The largest first.")
describe(
    Role,
    "What a user may see and do in the company.",
    ADMIN="Everything in the company.",
    MANAGER="What belongs to the user's teams and groups, and everything global.",
    MEMBER="What is the user's own or their teams', and everything global.",
)
describe(
    TokenScope,
    "What a token lets its holder do.",
    READ="Query the company's data.",
    WRITE="Create, change, schedule and delete.",
    SEND="Send campaigns at once, let paused ones go on, and send test mails.",
    EXPORT="Export data to files and download them.",
)
describe(
    CampaignType,
    "How a campaign reaches people.",
    EMAIL="By e-mail.",
    LETTER="By letters, made as PDF files.",
    TELEPHONE="By calls: tasks for users.",
)
describe(
    TemplateType,
    "What a template is for.",
    EMAIL="E-mails.",
    LETTER="Letters; the template has margins.",
)
describe(
    CampaignScope,
    "Who sees a campaign.",
    GLOBAL="Everyone in the company.",
    GROUP="The teams of one group.",
    TEAM="One team.",
    PERSONAL="Its author (and administrators).",
)
describe(
    CampaignStatus,
    "Where a campaign is in its life.",
    {"SENT": "Use COMPLETED. Removal: 2027-11-01."},
    DRAFT="Not approved, or nothing is scheduled.",
    PENDING="Approved and scheduled, not sent yet.",
    SENDING="On its way to its recipients.",
    COMPLETED="Sent.",
    FAILED="Nobody could be reached.",
    CANCELED="Stopped before or while it was sent.",
    SENT="The old name of COMPLETED; accepted in filters, never answered.",
)
describe(
    DistributionStrategy,
    "How the tasks of a campaign are shared out.",
    DISTRIBUTE="In turn to each of the given users.",
    RESPONSIBLE_USER="To the contact's own user; in turn to the given users where there is none.",
)
describe(
    DeliveryStatus,
    "How far a message has come.",
    QUEUED="Waiting to be sent.",
    SENDING="Being handed over.",
    SENT="Handed over to the mail server.",
    DELIVERED="Accepted for the recipient.",
    DEFERRED="Put off by the receiving server; it is tried again.",
    BOUNCED="Returned by the receiving server.",
    FAILED="Given up.",
    UNSUBSCRIBED="The recipient withdrew their consent by this message.",
    UNKNOWN="Handed over with no answer: perhaps sent, and never sent again by itself.",
    CANCELED="Not sent, as the campaign was canceled before.",
)
describe(
    ContactStatus,
    "How a contact stands to the company.",
    LEAD="Has shown interest.",
    OPPORTUNITY="Something may be sold.",
    CUSTOMER="Has bought.",
)
describe(
    FieldOwner,
    "Whose field it is.",
    CONTACT="A field of contacts.",
    ACCOUNT="A field of accounts.",
)
describe(
    FieldType,
    "What a field holds.",
    TEXT="A text.",
    DATE="A calendar day, as an ISO 8601 text.",
    INTEGER="A whole number.",
    NUMBER="A number.",
    BOOLEAN="Yes or no.",
    SINGLE_CHOICE="One of the field's choices.",
    MULTIPLE_CHOICE="Any of the field's choices, as a list.",
)
describe(
    ExportKind,
    "What an export holds.",
    CONTACTS="Contacts with all their fields.",
    DELIVERY_REPORTS="What became of messages.",
    CAMPAIGN_RECIPIENTS="The recipients of one campaign.",
    MAILING="Names and addresses for a mail merge.",
    LETTERS="The letters of one campaign.",
)
describe(
    ExportFormat,
    "How an export is written.",
    CSV="Comma-separated values (RFC 4180).",
    XLSX="An Excel workbook.",
    JSONL="A JSON object on each line.",
    ZIP="A ZIP archive of PDF files; letters only.",
)
describe(
    ExportStatus,
    "How far an export is.",
    PENDING="Waiting for a worker.",
    RUNNING="Being written.",
    COMPLETED="Written; the file can be had until it expires.",
    FAILED="Given up; `error` says why.",
    EXPIRED="Written once, but the file's life is over.",
    CANCELING="Asked to stop, still running.",
    CANCELED="Stopped.",
)
describe(
    CampaignOrderField,
    "What a list of campaigns may be sorted by.",
    CREATED_AT=CREATED,
    UPDATED_AT=UPDATED,
    NAME="The name, without regard to case.",
    SEND_AT="When it is to be sent; campaigns without a time count as the latest.",
    SENT_AT="When it was sent; campaigns not sent yet count as the latest.",
)
describe(
    TemplateOrderField,
    "What a list of templates may be sorted by.",
    TITLE="The title, without regard to case.",
    CREATED_AT=CREATED,
    UPDATED_AT=UPDATED,
)
describe(
    ContactOrderField,
    "What a list of contacts may be sorted by.",
    CREATED_AT=CREATED,
    UPDATED_AT=UPDATED,
    NAME="Last name, then first name, without regard to case.",
    LATEST_ACTIVITY_AT="The latest activity; contacts without any count as the latest.",
)
describe(
    UserOrderField,
    "What a list of users may be sorted by.",
    NAME="Last name, then first name, without regard to case.",
    CREATED_AT=CREATED,
)
describe(
    ContactListOrderField,
    "What the contact lists may be sorted by.",
    NAME="The name, without regard to case.",
    CREATED_AT=CREATED,
)
describe(NameOrderField, "What a list of named things may be sorted by.", NAME="The name, without regard to case.")
describe(
    ContactFieldOrderField,
    "What the fields may be sorted by.",
    SORT_ORDER="The place that the company gave them.",
)
describe(RecipientOrderField, "What recipients and messages may be sorted by.", ID="The order they were made in.")
describe(DeliveryReportOrderField, "What reports may be sorted by.", OCCURRED_AT="When it happened.")
describe(ExportOrderField, "What exports may be sorted by.", CREATED_AT="When the export was asked for.")
describe(
    CampaignTaskOrderField,
    "What the tasks of campaigns may be sorted by.",
    START_AT="From when they are to be done.",
    END_AT="By when they are to be done.",
)
describe(NotificationOrderField, "What notifications may be sorted by.", CREATED_AT="When you were told.")
describe(SuppressionOrderField, "What suppressions may be sorted by.", CREATED_AT="Since when they are there.")
describe(
    NotificationKind,
    "What a notification tells.",
    LETTERS_READY="The letters of a campaign of yours are ready.",
    CAMPAIGN_COMPLETED="A campaign of yours was sent.",
    CAMPAIGN_FAILED="A campaign of yours reached nobody.",
)
describe(
    SuppressionReason,
    "Why nothing is mailed to an address any more.",
    BOUNCED="A mail to it came back.",
    REFUSED="The mail server refused it for good.",
    COMPLAINED="Its owner complained of a mail.",
)
describe(
    UserErrorCode,
    "Why a change was not made.",
    REQUIRED="The value is required.",
    TOO_LONG="The text is longer than it may be.",
    TOO_MANY="There are more than there may be.",
    OUT_OF_RANGE="The number is too small or too large.",
    INVALID_CHARACTER="The text holds a character that it may not hold, such as a line break in a subject.",
    INVALID_EMAIL="This is not an e-mail address.",
    INVALID_URL="This is not an absolute URL of the web.",
    INVALID_DOMAIN_SLUG="This cannot be a label of a domain name.",
    INVALID_TIME="This is not a time, or local clocks show it twice or never.",
    NOT_IN_FUTURE="The time is past.",
    NOT_AFTER="The time is not after the one that it must follow.",
    NOT_FOUND="There is no such row that you may see.",
    FORBIDDEN="You may not do this.",
    DUPLICATE="The value is there already.",
    IN_USE="Something else needs it.",
    DOMAIN_MISSING="The company has neither a campaign domain nor a slug yet.",
    SENDER_NOT_OF_DOMAIN="The sender is not of the company's own domain.",
    TEMPLATE_TYPE_MISMATCH="The template is made for another type.",
    TEMPLATE_DELETED="The campaign's template was deleted; give it another, or none.",
    NOT_AN_EMAIL="This takes a campaign by e-mail.",
    ALREADY_SENT="The campaign has been sent, or is being sent.",
    NOT_APPROVED="The campaign is not approved.",
    ALREADY_APPROVED="The campaign is approved already.",
    WRONG_STATUS="The campaign, or the export, is not in a state for this.",
    PAUSED="The campaign is paused already.",
    NOT_PAUSED="The campaign is not paused.",
    EMPTY_AUDIENCE="The campaign would reach nobody.",
    RECIPIENT_COUNT_CHANGED="The campaign would reach more, or fewer, than you expect.",
    NOTHING_UNKNOWN="Of no message it is unknown whether it went out.",
    VERSION_CONFLICT="Somebody else changed it since you saw it.",
    IDEMPOTENCY_KEY_REUSED="The key was used for another request within 24 hours.",
    RATE_LIMITED="Too much of this was asked for lately; try again later.",
    STORAGE_LIMIT="The files of the company's exports take all the room there is for them; delete some exports first.",
    EXPORT_NOT_FOUND="There is no such export that you may see.",
    EXPORT_NOT_EXPIRED="The export is still being made, or its file can still be had.",
    INVALID_FILTER="The filter, or a part of it, is not of the shape that filters have.",
    UNKNOWN_FIELD="This names a field that the company has not, or a column that the export has not.",
    OPERATOR_NOT_ALLOWED="The operator does not fit the field's type.",
    INVALID_VALUE="The value is not one that may stand here.",
    FILTER_TOO_COMPLEX="The filter is nested too deeply, or has too many conditions.",
    UNKNOWN_MERGE_FIELD="A merge field names nothing that is known here.",
    MERGE_FIELD_MISPLACED="A merge field stands where its value could do harm, or where it cannot be filled in.",
    CONTENT_FIELD_MISSING="The template holds no {{content}}.",
    INVALID_MJML="The text begins as MJML, and cannot be read as it; the message names the line.",
)
describe(
    CampaignAction,
    "What may be done with a campaign.",
    UPDATE="Change it.",
    DELETE="Delete it.",
    COPY="Copy it.",
    APPROVE="Let it be sent.",
    UNAPPROVE="Make it a draft again.",
    SCHEDULE="Give it a time.",
    SEND="Send it at once.",
    CANCEL="Stop it.",
    PAUSE="Stop it for a while.",
    RESUME="Let it go on.",
    SEND_TEST="Try it out by mail.",
    RESEND_UNKNOWN="Send the messages again of which nobody knows whether they went out.",
)
describe(
    TestDeliveryStatus,
    "How far a test mail is.",
    QUEUED="Waiting for a worker.",
    SENT="Handed over to the mail server, or kept in the outbox where there is none.",
    FAILED="Not handed over; `reply` says why.",
)
describe(
    ExclusionReason,
    "Why a selected contact is not reached.",
    CONSENT_WITHDRAWN="The contact said no to the campaign's channel.",
    CONSENT_MISSING="The contact was never asked; that counts as no.",
    NO_ADDRESS="There is no address to reach the contact by.",
    SUPPRESSED="The company does not mail to the address any more: it bounced, was refused, or its owner complained.",
    DUPLICATE_ADDRESS="A contact with the same address is reached already.",
)
describe(TestDeliveryOrderField, "What test mails may be sorted by.", CREATED_AT="When it was asked for.")
describe(
    CampaignOutcome,
    "Whom a campaign has reached: whose message was handed over and has not come back.",
    ALL_REACHED="All recipients.",
    PARTLY_REACHED="Some recipients; or of some it is UNKNOWN, and of none it is certain.",
    NOBODY_REACHED="None, or there were none.",
)
describe(
    CampaignProblem,
    "Why a campaign reached nobody, or what its sending waits for.",
    EMPTY_AUDIENCE="The filter selected nobody who may and can be reached.",
    NOBODY_REACHED="Every message was given up; the reports say why.",
    NOT_APPROVED="It was not approved any more when it was due.",
    NO_FILTER="It has no filter, so it goes to nobody.",
    BROKEN_FILTER="Its filter names something that is no longer there.",
    NO_DOMAIN="The company has neither a campaign domain nor a slug.",
    NO_CONTENT="It says nothing, or what it says cannot be made into a message.",
    TEMPLATE_DELETED="Its template was deleted.",
    MAIL_SERVER_UNAVAILABLE="The mail server does not answer; it is tried again.",
    LETTERS_FAILED="The letters could not be made.",
    DEADLINE_PASSED="What was put off could not be sent in time.",
    INTERNAL_ERROR="Something broke here; it is in the log.",
)

"""How are recipients, the messages they were sent and the reports on their delivery read?"""

from __future__ import annotations

from sqlalchemy import ARRAY, Text, and_, any_, join

from resolvers.campaigns import CAMPAIGN
from resolvers.contacts import CONTACT
from resolvers.edges import Filter, Many, One, Paged
from resolvers.pages import Direction, Sort, SortKind
from resolvers.sources import Source
from store import access
from store.models import CampaignMessage, DeliveryReport, Recipient

RECIPIENT = Source("Recipient", Recipient, access.recipients, inherited=access.whole_company(Recipient))
MESSAGE = Source(
    "CampaignMessage",
    CampaignMessage,
    access.recipients,
    inherited=access.whole_company(Recipient),
    rows=join(
        CampaignMessage,
        Recipient,
        and_(Recipient.company_id == CampaignMessage.company_id, Recipient.id == CampaignMessage.id),
    ),
    extra={
        # The recipient's id, which is the same and has the index that lists of a campaign are read from.
        "id": Recipient.id.expression,
        "campaign_id": Recipient.campaign_id.expression,
        "contact_id": Recipient.contact_id.expression,
        "status": Recipient.status.expression,
        "sent_at": Recipient.sent_at.expression,
    },
)
REPORT = Source(
    "DeliveryReport",
    DeliveryReport,
    access.delivery_reports,
    inherited=access.whole_company(DeliveryReport),
)

RECIPIENT_SORTS = {"ID": Sort(Recipient.id, SortKind.KEY)}
RECIPIENT_FILTERS = {"status_in": Filter(ARRAY(Text()), lambda wanted: Recipient.status == any_(wanted))}
MESSAGE_SORTS = {"ID": Sort(CampaignMessage.id, SortKind.KEY)}
REPORT_SORTS = {"OCCURRED_AT": Sort(DeliveryReport.occurred_at, SortKind.TIME)}
REPORT_FILTERS = {"status_in": Filter(ARRAY(Text()), lambda wanted: DeliveryReport.status == any_(wanted))}

CAMPAIGN_RECIPIENTS = Paged(
    "Campaign.recipients",
    RECIPIENT,
    key="id",
    child_key="campaign_id",
    sorts=RECIPIENT_SORTS,
    order="ID",
    filters=RECIPIENT_FILTERS,
    parent_decides=True,
)
CONTACT_RECIPIENTS = Paged(
    "Contact.recipients",
    RECIPIENT,
    key="id",
    child_key="contact_id",
    sorts=RECIPIENT_SORTS,
    order="ID",
    direction=Direction.DESC,
    filters=RECIPIENT_FILTERS,
)
CAMPAIGN_MESSAGES = Paged(
    "Campaign.messages",
    MESSAGE,
    key="id",
    child_key="campaign_id",
    sorts=MESSAGE_SORTS,
    order="ID",
    filters=RECIPIENT_FILTERS,
    parent_decides=True,
)
CONTACT_MESSAGES = Paged(
    "Contact.messages",
    MESSAGE,
    key="id",
    child_key="contact_id",
    sorts=MESSAGE_SORTS,
    order="ID",
    direction=Direction.DESC,
    filters=RECIPIENT_FILTERS,
)
CAMPAIGN_REPORTS = Paged(
    "Campaign.deliveryReports",
    REPORT,
    key="id",
    child_key="campaign_id",
    sorts=REPORT_SORTS,
    order="OCCURRED_AT",
    direction=Direction.DESC,
    filters=REPORT_FILTERS,
    parent_decides=True,
)
RECIPIENT_CAMPAIGN = One("Recipient.campaign", CAMPAIGN, key="campaign_id")
RECIPIENT_CONTACT = One("Recipient.contact", CONTACT, key="contact_id")
RECIPIENT_MESSAGE = One("Recipient.message", MESSAGE, key="id")
RECIPIENT_REPORTS = Many(
    "Recipient.deliveryReports",
    REPORT,
    key="id",
    child_key="recipient_id",
    order=[DeliveryReport.occurred_at, DeliveryReport.id],
    parent_decides=True,
)
MESSAGE_CAMPAIGN = One("CampaignMessage.campaign", CAMPAIGN, key="campaign_id")
MESSAGE_CONTACT = One("CampaignMessage.contact", CONTACT, key="contact_id")
MESSAGE_RECIPIENT = One("CampaignMessage.recipient", RECIPIENT, key="id")
REPORT_RECIPIENT = One("DeliveryReport.recipient", RECIPIENT, key="recipient_id")
REPORT_CAMPAIGN = One("DeliveryReport.campaign", CAMPAIGN, key="campaign_id")

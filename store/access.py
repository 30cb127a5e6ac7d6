"""Which rows may the viewer see?

Every rule is written over bind parameters (`viewer_*`, filled by `store.database.Scope`), so that a statement is
built and prepared once and serves every viewer. Row security in the database repeats the company's part.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import ARRAY, Boolean, ColumnElement, Integer, any_, bindparam, exists, or_
from sqlalchemy.orm import InstrumentedAttribute

from store.models import (
    Campaign,
    CampaignScope,
    CampaignTask,
    Company,
    DeliveryReport,
    Export,
    ExportKind,
    File,
    Notification,
    Recipient,
    Template,
    TestDelivery,
)
from store.models.base import Owned

Rule = Callable[[], ColumnElement[bool]]

COMPANY_ID = bindparam("viewer_company_id", type_=Integer())
USER_ID = bindparam("viewer_user_id", type_=Integer())
SEES_EVERYTHING = bindparam("viewer_sees_everything", type_=Boolean())
TEAM_IDS = bindparam("viewer_team_ids", type_=ARRAY(Integer()))
GROUP_IDS = bindparam("viewer_group_ids", type_=ARRAY(Integer()))


def of_company(company_id: InstrumentedAttribute[int]) -> ColumnElement[bool]:
    """The row belongs to the viewer's company."""
    return company_id == COMPANY_ID


def whole_company(table: type[Owned]) -> Rule:
    """Rows that everyone in the company sees."""
    return lambda: of_company(table.company_id)


def own_company() -> ColumnElement[bool]:
    return of_company(Company.id)


def campaigns() -> ColumnElement[bool]:
    """Administrators see all; others the global ones, those of their teams and groups, and their own."""
    return of_company(Campaign.company_id) & or_(
        SEES_EVERYTHING,
        Campaign.scope == CampaignScope.GLOBAL,
        (Campaign.scope == CampaignScope.TEAM) & (Campaign.team_id == any_(TEAM_IDS)),
        (Campaign.scope == CampaignScope.GROUP) & (Campaign.group_id == any_(GROUP_IDS)),
        Campaign.user_id == USER_ID,
    )


def templates() -> ColumnElement[bool]:
    """A template of a team or a group is theirs (and its author's); one of neither is everyone's."""
    return of_company(Template.company_id) & or_(
        SEES_EVERYTHING,
        Template.team_id.is_(None) & Template.group_id.is_(None),
        Template.team_id == any_(TEAM_IDS),
        Template.group_id == any_(GROUP_IDS),
        Template.user_id == USER_ID,
    )


def recipients() -> ColumnElement[bool]:
    """A recipient and its message are as visible as their campaign."""
    campaign = exists().where(
        Campaign.company_id == Recipient.company_id, Campaign.id == Recipient.campaign_id, campaigns()
    )
    return of_company(Recipient.company_id) & or_(SEES_EVERYTHING, campaign)


def delivery_reports() -> ColumnElement[bool]:
    """A report is as visible as its campaign."""
    campaign = exists().where(
        Campaign.company_id == DeliveryReport.company_id,
        Campaign.id == DeliveryReport.campaign_id,
        campaigns(),
    )
    return of_company(DeliveryReport.company_id) & or_(SEES_EVERYTHING, campaign)


def tasks() -> ColumnElement[bool]:
    """A task is as visible as its campaign, and is seen by the user who is to do it."""
    campaign = exists().where(
        Campaign.company_id == CampaignTask.company_id, Campaign.id == CampaignTask.campaign_id, campaigns()
    )
    return of_company(CampaignTask.company_id) & or_(SEES_EVERYTHING, CampaignTask.user_id == USER_ID, campaign)


def exports() -> ColumnElement[bool]:
    """The company's exports, but for those that could tell of a campaign that the viewer may not see.

    Delivery reports of a period are of all the campaigns that whoever asked for them sees: they are theirs alone.
    """
    campaign = exists().where(Campaign.company_id == Export.company_id, Campaign.id == Export.campaign_id, campaigns())
    of_no_campaign = Export.campaign_id.is_(None) & or_(
        Export.kind != ExportKind.DELIVERY_REPORTS, Export.requested_by_id == USER_ID
    )
    return of_company(Export.company_id) & or_(SEES_EVERYTHING, of_no_campaign, campaign)


def test_deliveries() -> ColumnElement[bool]:
    """A test mail is its sender's; administrators see all."""
    return of_company(TestDelivery.company_id) & or_(SEES_EVERYTHING, TestDelivery.user_id == USER_ID)


def notifications() -> ColumnElement[bool]:
    """A notification is for one user, and nobody else sees it: no administrator either."""
    return of_company(Notification.company_id) & (Notification.user_id == USER_ID)


def files() -> ColumnElement[bool]:
    """A file is as visible as the export that it belongs to."""
    export = exists().where(Export.company_id == File.company_id, Export.file_id == File.id, exports())
    return of_company(File.company_id) & or_(SEES_EVERYTHING, export)

"""What does a mutation answer? The object that it made or changed, and every reason why it did not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import strawberry
from strawberry.scalars import JSON

from resolvers import global_ids
from resolvers.campaigns import CAMPAIGN
from resolvers.changes import outcomes, user_errors
from resolvers.changes.outcomes import Outcome
from resolvers.changes.user_errors import UserErrorCode
from resolvers.edges import One
from resolvers.exports import EXPORT
from resolvers.settings import SETTINGS
from resolvers.templates import TEMPLATE
from resolvers.test_deliveries import TEST_DELIVERY
from schema.fields import ContextInfo, each_selected, to_one
from schema.registry import annotate
from schema.scalars import URL
from schema.test_deliveries import TestDelivery

# The key of each is that of the row which the change made.
PAYLOAD_CAMPAIGN = One("CampaignPayload.campaign", CAMPAIGN, key="key")
PAYLOAD_TEMPLATE = One("TemplatePayload.template", TEMPLATE, key="key")
PAYLOAD_SETTINGS = One("UpdateCampaignSettingsPayload.campaignSettings", SETTINGS, key="key")
PAYLOAD_EXPORT = One("ExportPayload.export", EXPORT, key="key")
PAYLOAD_TEST_DELIVERY = One("TestEmailPayload.testDeliveries", TEST_DELIVERY, key="key")


def path_of(root: strawberry.Parent[user_errors.UserError]) -> list[str]:
    return list(root.path)


@strawberry.type(description="One reason why a change was not made. All reasons come at once.")
class UserError:
    code: UserErrorCode = strawberry.field(description="The reason, for programs.")
    message: str = strawberry.field(description="The reason, for the person who wrote the value.")
    field: list[str] = strawberry.field(
        resolver=path_of,
        description="Where the value stands among the arguments, such as `input`, `task`, `endAt`; places in lists are "
        "numbers, from 0. `id` is the row itself; what `campaign` or `export` begins stands in it as it is stored.",
    )


def conflicting_path(root: strawberry.Parent[outcomes.FieldConflict]) -> list[str]:
    return list(root.path)


@strawberry.type(description="A value that somebody else may have changed since you saw it.")
class FieldConflict:
    yours: JSON | None = strawberry.field(description="What you would make of it.")
    current: JSON | None = strawberry.field(description="What it is by now.")
    field: list[str] = strawberry.field(resolver=conflicting_path, description="Where it stands among the arguments.")


@strawberry.type(description="A link to a rendered page. Whoever has it can read the page, so keep it as a secret.")
class PreviewLink:
    url: URL = strawberry.field(description="Where the page is; it runs no script, and may be shown in a frame.")
    expires_at: datetime = strawberry.field(description="When the link ends; ask for another one then.")


# Payloads are read from an `Outcome`, not from the class that describes them: hence Any.
def errors_of(root: strawberry.Parent[Outcome]) -> Any:
    return root.errors


def conflicts_of(root: strawberry.Parent[Outcome]) -> Any:
    return root.conflicts


def link_of(root: strawberry.Parent[Outcome]) -> Any:
    return root.link


def count_of(root: strawberry.Parent[Outcome]) -> int:
    return root.count


def deleted(typename: str) -> Callable[[Outcome], strawberry.ID | None]:
    def deleted_id(root: strawberry.Parent[Outcome]) -> strawberry.ID | None:
        return None if root.key is None else strawberry.ID(global_ids.encode(typename, root.key))

    return deleted_id


async def made_test_deliveries(root: strawberry.Parent[Outcome], info: ContextInfo) -> Any:
    return await each_selected(info, PAYLOAD_TEST_DELIVERY, root.keys)


@strawberry.type
class Payload:
    """What all payloads have."""

    user_errors: list[UserError] = strawberry.field(
        resolver=errors_of, description="Why nothing was changed; empty when it was."
    )


@strawberry.type
@annotate
class CampaignPayload(Payload):
    """What the payloads of mutations of one campaign have."""

    campaign = to_one(PAYLOAD_CAMPAIGN, "The campaign as it is now; null when nothing was made.", nullable=True)


@strawberry.type
@annotate
class TemplatePayload(Payload):
    """What the payloads of mutations of one template have."""

    template = to_one(PAYLOAD_TEMPLATE, "The template as it is now; null when nothing was made.", nullable=True)


@strawberry.type(description="What came of createCampaign.")
class CreateCampaignPayload(CampaignPayload):
    pass


@strawberry.type(description="What came of copyCampaign.")
class CopyCampaignPayload(CampaignPayload):
    pass


@strawberry.type(description="What came of updateCampaign.")
class UpdateCampaignPayload(CampaignPayload):
    conflicts: list[FieldConflict] = strawberry.field(
        resolver=conflicts_of,
        description="After VERSION_CONFLICT: both sides of each value that you would have changed.",
    )


@strawberry.type(description="What came of approveCampaign.")
class ApproveCampaignPayload(CampaignPayload):
    pass


@strawberry.type(description="What came of unapproveCampaign.")
class UnapproveCampaignPayload(CampaignPayload):
    pass


@strawberry.type(description="What came of scheduleCampaign.")
class ScheduleCampaignPayload(CampaignPayload):
    pass


@strawberry.type(description="What came of sendCampaign.")
class SendCampaignPayload(CampaignPayload):
    pass


@strawberry.type(description="What came of cancelCampaign.")
class CancelCampaignPayload(CampaignPayload):
    pass


@strawberry.type(description="What came of pauseCampaign.")
class PauseCampaignPayload(CampaignPayload):
    pass


@strawberry.type(description="What came of resumeCampaign.")
class ResumeCampaignPayload(CampaignPayload):
    pass


@strawberry.type(description="What came of resendUnknown.")
class ResendUnknownPayload(CampaignPayload):
    queued: int = strawberry.field(
        resolver=count_of, description="How many recipients are QUEUED again; 0 when nothing was changed."
    )


@strawberry.type(description="What came of deleteCampaign.")
class DeleteCampaignPayload(Payload):
    deleted_campaign_id: strawberry.ID | None = strawberry.field(
        resolver=deleted("Campaign"), description="The global id of what is no longer there; null when it still is."
    )


@strawberry.type(description="What came of createTemplate.")
class CreateTemplatePayload(TemplatePayload):
    pass


@strawberry.type(description="What came of updateTemplate.")
class UpdateTemplatePayload(TemplatePayload):
    pass


@strawberry.type(description="What came of copyTemplate.")
class CopyTemplatePayload(TemplatePayload):
    pass


@strawberry.type(description="What came of deleteTemplate.")
class DeleteTemplatePayload(Payload):
    deleted_template_id: strawberry.ID | None = strawberry.field(
        resolver=deleted("Template"), description="The global id of what is no longer there; null when it still is."
    )


@strawberry.type(description="What came of updateCampaignSettings.")
@annotate
class UpdateCampaignSettingsPayload(Payload):
    campaign_settings = to_one(
        PAYLOAD_SETTINGS, "The settings as they are now; null when nothing was changed.", nullable=True
    )


@strawberry.type
class TestEmailPayload(Payload):
    """What the payloads of test mails have."""

    __test__ = False

    test_deliveries: list[TestDelivery] = strawberry.field(
        resolver=made_test_deliveries, description="One for each address; empty when nothing is sent."
    )


@strawberry.type(description="What came of sendTestEmail.")
class SendTestEmailPayload(TestEmailPayload):
    pass


@strawberry.type(description="What came of sendCampaignTestEmail.")
class SendCampaignTestEmailPayload(TestEmailPayload):
    pass


@strawberry.type
class PreviewPayload(Payload):
    """What the payloads of previews have."""

    preview: PreviewLink | None = strawberry.field(
        resolver=link_of, description="Where the rendered page is; null when nothing was rendered."
    )


@strawberry.type(description="What came of previewCampaign.")
class PreviewCampaignPayload(PreviewPayload):
    pass


@strawberry.type(description="What came of previewTemplate.")
class PreviewTemplatePayload(PreviewPayload):
    pass


@strawberry.type
@annotate
class ExportPayload(Payload):
    """What the payloads of mutations of one export have."""

    export = to_one(PAYLOAD_EXPORT, "The export as it is now; null when nothing was made or changed.", nullable=True)


@strawberry.type(description="What came of exportContacts.")
class ExportContactsPayload(ExportPayload):
    pass


@strawberry.type(description="What came of exportDeliveryReports.")
class ExportDeliveryReportsPayload(ExportPayload):
    pass


@strawberry.type(description="What came of exportCampaignRecipients.")
class ExportCampaignRecipientsPayload(ExportPayload):
    pass


@strawberry.type(description="What came of exportMailing.")
class ExportMailingPayload(ExportPayload):
    pass


@strawberry.type(description="What came of regenerateExport.")
class RegenerateExportPayload(ExportPayload):
    pass


@strawberry.type(description="What came of cancelExport.")
class CancelExportPayload(ExportPayload):
    pass


@strawberry.type(description="What came of deleteExport.")
class DeleteExportPayload(Payload):
    deleted_export_id: strawberry.ID | None = strawberry.field(
        resolver=deleted("Export"), description="The global id of what is no longer there; null when it still is."
    )

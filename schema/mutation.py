"""What can be changed? The root of every mutation, one for each action."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import strawberry

from resolvers.changes import campaigns, previews, settings, templates, test_mails
from resolvers.changes.campaign_life import CampaignAction, scope_needed
from resolvers.changes.campaign_rules import LONGEST_CONTENT, LONGEST_SUBJECT
from resolvers.changes.outcomes import carried_out
from resolvers.changes.recipient_counts import WIDEST_TOLERANCE, Expected
from resolvers.changes.test_mails import MOST_ADDRESSES
from schema import payloads
from schema.campaign_inputs import CampaignInput, UpdateCampaignInput, campaign_given
from schema.export_mutations import ExportMutations
from schema.fields import ContextInfo
from schema.mutation_fields import Key, looking, mutation, sending, writing
from schema.notifications import NotificationMutations
from schema.scalars import Moment
from schema.settings import REMOVAL
from schema.settings_inputs import CampaignSettingsInput, settings_given
from schema.suppressions import SuppressionMutations
from schema.tasks import TaskMutations
from schema.template_inputs import TemplateInput, UpdateTemplateInput, template_given

SUBJECT_LENGTH = f"at most {LONGEST_SUBJECT} characters"
CONTENT_LENGTH = f"at most {LONGEST_CONTENT:,} characters"
CampaignId = Annotated[strawberry.ID, strawberry.argument(description="The campaign's global id, or its databaseId.")]
TemplateId = Annotated[strawberry.ID, strawberry.argument(description="The template's global id, or its databaseId.")]
ContactId = Annotated[
    strawberry.ID | None,
    strawberry.argument(description="The contact whose values fill in the merge fields; your own if absent."),
]
Version = Annotated[
    int | None,
    strawberry.argument(description="The `version` that you saw; VERSION_CONFLICT if it is another by now."),
]
DryRun = Annotated[bool, strawberry.argument(description="True only tries: the same errors, and nothing is written.")]
Addresses = Annotated[list[str], strawberry.argument(description=f"Where it goes; 1 to {MOST_ADDRESSES} addresses.")]
OwnAddresses = Annotated[
    list[str] | None,
    strawberry.argument(description=f"Where it goes; 1 to {MOST_ADDRESSES} addresses, your own if absent."),
]
RecipientCount = Annotated[
    int | None,
    strawberry.argument(
        description="How many recipients you expect, as `audience` counted them: the campaign is not sent if it would "
        "reach another number by now."
    ),
]
Tolerance = Annotated[
    int,
    strawberry.argument(
        description=f"By how many recipients the number may differ from the expected one, at most {WIDEST_TOLERANCE:,}."
    ),
]
SendAt = Annotated[Moment, strawberry.argument(description="When it is to be sent: a time to come.")]
NewCampaign = Annotated[CampaignInput, strawberry.argument(description="The campaign.")]
CampaignChanges = Annotated[UpdateCampaignInput, strawberry.argument(description="What is to change.")]
NewTemplate = Annotated[TemplateInput, strawberry.argument(description="The template.")]
TemplateChanges = Annotated[UpdateTemplateInput, strawberry.argument(description="What is to change.")]
SettingsChanges = Annotated[CampaignSettingsInput, strawberry.argument(description="What is to change.")]
Subject = Annotated[
    str | None, strawberry.argument(description=f"The subject to set into it, {SUBJECT_LENGTH}; an example if absent.")
]
Content = Annotated[
    str | None, strawberry.argument(description=f"The content to set into it, {CONTENT_LENGTH}; an example if absent.")
]

PREVIEW_CAMPAIGN = f"Use previewTemplate, or sendCampaignTestEmail. {REMOVAL}"


@strawberry.input(one_of=True, description="A campaign to look at. Exactly one of these.")
class PreviewedCampaign:
    id: strawberry.Maybe[strawberry.ID] = strawberry.field(description="One that is saved.")
    input: strawberry.Maybe[CampaignInput] = strawberry.field(description="One that is not; it may be incomplete.")


Previewed = Annotated[PreviewedCampaign, strawberry.argument(description="The campaign.")]


async def create_campaign(
    info: ContextInfo, input: NewCampaign, idempotency_key: Key = None, dry_run: DryRun = False
) -> Any:
    given = campaign_given(input)
    return await writing(
        info,
        lambda: campaigns.create_campaign(info.context, given, idempotency_key=idempotency_key, dry_run=dry_run),
    )


async def update_campaign(
    info: ContextInfo,
    id: CampaignId,
    input: CampaignChanges,
    expected_version: Version = None,
    dry_run: DryRun = False,
) -> Any:
    given = campaign_given(input)
    return await writing(
        info,
        lambda: campaigns.update_campaign(info.context, id, given, expected_version=expected_version, dry_run=dry_run),
    )


async def copy_campaign(info: ContextInfo, id: CampaignId, idempotency_key: Key = None) -> Any:
    return await writing(info, lambda: campaigns.copy_campaign(info.context, id, idempotency_key=idempotency_key))


async def delete_campaign(info: ContextInfo, id: CampaignId) -> Any:
    return await writing(info, lambda: campaigns.delete_campaign(info.context, id))


def moving(action: CampaignAction) -> Callable[..., Awaitable[Any]]:
    """The resolver of a step that takes nothing but the campaign."""

    async def move_campaign(info: ContextInfo, id: CampaignId, expected_version: Version = None) -> Any:
        return await carried_out(
            info.context,
            scope_needed(action),
            lambda: campaigns.move_campaign(info.context, id, action, expected_version=expected_version),
        )

    return move_campaign


async def send_campaign(
    info: ContextInfo,
    id: CampaignId,
    expected_version: Version = None,
    expected_recipient_count: RecipientCount = None,
    recipient_tolerance: Tolerance = 0,
) -> Any:
    expected = Expected(expected_recipient_count, recipient_tolerance)
    return await sending(
        info,
        lambda: campaigns.move_campaign(
            info.context, id, CampaignAction.SEND, expected_version=expected_version, expected=expected
        ),
    )


async def resend_unknown(info: ContextInfo, campaign_id: CampaignId) -> Any:
    return await sending(info, lambda: campaigns.resend_unknown(info.context, campaign_id))


async def schedule_campaign(
    info: ContextInfo, id: CampaignId, send_at: SendAt, expected_version: Version = None
) -> Any:
    return await writing(
        info,
        lambda: campaigns.move_campaign(
            info.context, id, CampaignAction.SCHEDULE, expected_version=expected_version, send_at=send_at
        ),
    )


async def send_test_email(
    info: ContextInfo,
    input: NewCampaign,
    emails: OwnAddresses = None,
    contact_id: ContactId = None,
    idempotency_key: Key = None,
) -> Any:
    given = campaign_given(input)
    return await sending(
        info,
        lambda: test_mails.send_test_email(
            info.context, given, emails=emails, contact_id=contact_id, idempotency_key=idempotency_key
        ),
    )


async def send_campaign_test_email(
    info: ContextInfo,
    id: CampaignId,
    emails: Addresses,
    contact_id: ContactId = None,
    idempotency_key: Key = None,
) -> Any:
    return await sending(
        info,
        lambda: test_mails.send_campaign_test_email(
            info.context, id, emails=emails, contact_id=contact_id, idempotency_key=idempotency_key
        ),
    )


async def preview_campaign(info: ContextInfo, source: Previewed, contact_id: ContactId = None) -> Any:
    saved, unsaved = source.id, source.input
    if saved is not None:
        id = saved.value
        return await looking(info, lambda: previews.preview_campaign(info.context, id, contact_id=contact_id))
    assert unsaved is not None, "the schema has exactly one of them"
    given = campaign_given(unsaved.value)
    return await looking(info, lambda: previews.preview_campaign_input(info.context, given, contact_id=contact_id))


async def preview_template(
    info: ContextInfo,
    id: TemplateId,
    subject: Subject = None,
    content: Content = None,
    contact_id: ContactId = None,
) -> Any:
    return await looking(
        info,
        lambda: previews.preview_template(info.context, id, subject=subject, content=content, contact_id=contact_id),
    )


async def create_template(info: ContextInfo, input: NewTemplate, idempotency_key: Key = None) -> Any:
    given = template_given(input)
    return await writing(info, lambda: templates.create_template(info.context, given, idempotency_key=idempotency_key))


async def update_template(info: ContextInfo, id: TemplateId, input: TemplateChanges) -> Any:
    given = template_given(input)
    return await writing(info, lambda: templates.update_template(info.context, id, given))


async def copy_template(info: ContextInfo, id: TemplateId, idempotency_key: Key = None) -> Any:
    return await writing(info, lambda: templates.copy_template(info.context, id, idempotency_key=idempotency_key))


async def delete_template(info: ContextInfo, id: TemplateId) -> Any:
    return await writing(info, lambda: templates.delete_template(info.context, id))


async def update_campaign_settings(info: ContextInfo, input: SettingsChanges) -> Any:
    given = settings_given(input)
    return await writing(info, lambda: settings.update_settings(info.context, given))


@strawberry.type(
    description="Everything that can be changed. Each answers what it made and `userErrors`: what is wrong with what "
    "you gave, all of it at once. Nothing is changed unless `userErrors` is empty."
)
class Mutation(ExportMutations, TaskMutations, NotificationMutations, SuppressionMutations):
    create_campaign: payloads.CreateCampaignPayload | None = mutation(
        create_campaign, "Makes a campaign of yours. It is PENDING when it is approved and has a time, else a DRAFT."
    )
    update_campaign: payloads.UpdateCampaignPayload | None = mutation(
        update_campaign, "Changes a campaign of which nothing has been sent; it is held against the rules as a whole."
    )
    copy_campaign: payloads.CopyCampaignPayload | None = mutation(
        copy_campaign,
        "Makes a draft of yours with the content, filter and approval of a campaign, without template, times and task.",
    )
    delete_campaign: payloads.DeleteCampaignPayload | None = mutation(
        delete_campaign, "Deletes a campaign of which nothing has been sent."
    )
    approve_campaign: payloads.ApproveCampaignPayload | None = mutation(
        moving(CampaignAction.APPROVE), "Lets a campaign be sent; it is PENDING if it has a time."
    )
    unapprove_campaign: payloads.UnapproveCampaignPayload | None = mutation(
        moving(CampaignAction.UNAPPROVE), "Makes a campaign a draft again; its time stays."
    )
    schedule_campaign: payloads.ScheduleCampaignPayload | None = mutation(
        schedule_campaign, "Gives a campaign another time; it is PENDING if it is approved."
    )
    send_campaign: payloads.SendCampaignPayload | None = mutation(
        send_campaign,
        "Sends an approved campaign at once, whatever time it has; it must have one, and reach somebody. Takes `send`.",
    )
    resend_unknown: payloads.ResendUnknownPayload | None = mutation(
        resend_unknown,
        "Sends those messages of a campaign again of which nobody knows whether they went out: who got the first may "
        "get a second. It is SENDING then. Takes `send`.",
    )
    cancel_campaign: payloads.CancelCampaignPayload | None = mutation(
        moving(CampaignAction.CANCEL),
        "Stops a campaign that is scheduled or being sent. If nothing has gone out, it may be scheduled anew.",
    )
    pause_campaign: payloads.PauseCampaignPayload | None = mutation(
        moving(CampaignAction.PAUSE),
        "Stops a campaign that is scheduled or being sent, until it is resumed. Letters that are being made are "
        "finished, but none is SENT before that.",
    )
    resume_campaign: payloads.ResumeCampaignPayload | None = mutation(
        moving(CampaignAction.RESUME),
        "Lets a paused campaign go on; one whose time has passed meanwhile is sent at once. Takes `send`.",
    )
    send_test_email: payloads.SendTestEmailPayload | None = mutation(
        send_test_email, "Mails what a new campaign would say; the rules are those of createCampaign. Takes `send`."
    )
    send_campaign_test_email: payloads.SendCampaignTestEmailPayload | None = mutation(
        send_campaign_test_email, "Mails what a campaign says; none of its recipients notices. Takes `send`."
    )
    preview_campaign: payloads.PreviewCampaignPayload | None = mutation(
        preview_campaign, "Renders a campaign, saved or not, as a page.", deprecated=PREVIEW_CAMPAIGN
    )
    preview_template: payloads.PreviewTemplatePayload | None = mutation(
        preview_template, "Renders a template with a subject and a content as a page."
    )
    create_template: payloads.CreateTemplatePayload | None = mutation(create_template, "Makes a template of yours.")
    update_template: payloads.UpdateTemplatePayload | None = mutation(
        update_template, "Changes a template; campaigns that are still to be sent use it as it is then."
    )
    copy_template: payloads.CopyTemplatePayload | None = mutation(
        copy_template, "Makes a template of yours like another."
    )
    delete_template: payloads.DeleteTemplatePayload | None = mutation(
        delete_template, "Deletes a template that no scheduled campaign uses; other campaigns lose it."
    )
    update_campaign_settings: payloads.UpdateCampaignSettingsPayload | None = mutation(
        update_campaign_settings, "Changes how the company's campaigns are sent. Administrators only."
    )

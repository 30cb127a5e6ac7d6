"""What does a client write to change the campaign settings?"""

from __future__ import annotations

from typing import cast

import strawberry
from strawberry import Maybe

from resolvers.changes.settings import LONGEST_TEXT, LONGEST_URL, SettingsGiven
from schema.campaign_inputs import given_values, without_nulls
from schema.settings import OLD_CONSENT, REMOVAL

TEXT = f"At most {LONGEST_TEXT:,} characters."
OLD_FIELDS = ("template_id", "subscribe_url", "subject", "content", "help_text")


@strawberry.input(description="How recipients may withdraw their consent; what is absent stays.")
class ConsentInput:
    enable: Maybe[bool | None] = strawberry.field(description="Whether the company has an unsubscribe page of its own.")
    custom: Maybe[bool | None] = strawberry.field(
        description="The same as enable, as the old API called it.", deprecation_reason=f"Use enable. {REMOVAL}"
    )
    unsubscribe_url: Maybe[str | None] = strawberry.field(
        description=f"The company's page; required when it is enabled, at most {LONGEST_URL:,} characters."
    )
    template_id: Maybe[strawberry.ID | None] = strawberry.field(
        description="The template of the old consent mail.", deprecation_reason=OLD_CONSENT
    )
    subscribe_url: Maybe[str | None] = strawberry.field(
        description=f"Where recipients give their consent; at most {LONGEST_URL:,} characters.",
        deprecation_reason=OLD_CONSENT,
    )
    subject: Maybe[str | None] = strawberry.field(
        description=f"The subject of the old consent mail. {TEXT}", deprecation_reason=OLD_CONSENT
    )
    content: Maybe[str | None] = strawberry.field(
        description=f"The content of the old consent mail. {TEXT}", deprecation_reason=OLD_CONSENT
    )
    help_text: Maybe[str | None] = strawberry.field(
        description=f"The help on the old consent page. {TEXT}", deprecation_reason=OLD_CONSENT
    )


@strawberry.input(description="What is to change of the campaign settings; what is absent stays.")
class CampaignSettingsInput:
    domain_slug: Maybe[str | None] = strawberry.field(
        description="The name under the shared domain that campaigns come from: small letters, digits and hyphens. "
        "Null takes it away, which takes a domain of the company's own."
    )
    consent: Maybe[ConsentInput | None] = strawberry.field(description="How recipients may withdraw their consent.")


def settings_given(input: CampaignSettingsInput) -> SettingsGiven:
    """What the client wrote, without what they left out."""
    found = given_values(input, ("domain_slug",))
    if input.consent is not None and input.consent.value is not None:
        consent = input.consent.value
        custom = without_nulls(given_values(consent, ("custom",)))
        named = {"enable": custom["custom"]} if custom else {}
        named |= without_nulls(given_values(consent, ("enable",)))
        found["consent"] = named | given_values(consent, ("unsubscribe_url", *OLD_FIELDS))
    return cast("SettingsGiven", found)

"""What does a client write to make or change a template?"""

from __future__ import annotations

from typing import cast

import strawberry
from strawberry import Maybe

from resolvers.changes.campaign_rules import LONGEST_CONTENT
from resolvers.changes.templates import (
    LONGEST_TITLE,
    USUAL_MARGIN,
    WIDEST_MARGIN,
    MarginsGiven,
    TemplateGiven,
)
from schema.campaign_inputs import given_values, without_nulls
from store.models import TemplateType

TITLE = f"The title, one line; at most {LONGEST_TITLE} characters."
CONTENT = "HTML that holds {{content}} and, for e-mail, {{subject}}; at most " + f"{LONGEST_CONTENT:,} characters."
CAMPAIGN = "Whether it is made for campaigns, for lists to narrow by; true if absent."
MARGINS = f"The margins of a letter; {USUAL_MARGIN:g} millimetres each if absent."
TEAM = "The team it belongs to; everyone's without a team and a group."
GROUP = "The group it belongs to."


@strawberry.input(description=f"The margins of a letter, 0 to {WIDEST_MARGIN:g} millimetres.")
class MarginsInput:
    top: Maybe[float | None] = strawberry.field(description="Above the text.")
    right: Maybe[float | None] = strawberry.field(description="To the right of the text.")
    bottom: Maybe[float | None] = strawberry.field(description="Below the text.")
    left: Maybe[float | None] = strawberry.field(description="To the left of the text.")


@strawberry.input(description="A new template.")
class TemplateInput:
    type: TemplateType = strawberry.field(description="What it is for; it stays so.")
    title: str = strawberry.field(description=TITLE)
    content: str = strawberry.field(description=CONTENT)
    campaign: Maybe[bool | None] = strawberry.field(description=CAMPAIGN)
    margins: Maybe[MarginsInput | None] = strawberry.field(description=MARGINS)
    team_id: Maybe[strawberry.ID | None] = strawberry.field(description=TEAM)
    group_id: Maybe[strawberry.ID | None] = strawberry.field(description=GROUP)


@strawberry.input(
    description="What is to change of a template; what is absent stays, null takes away what may be absent."
)
class UpdateTemplateInput:
    title: Maybe[str | None] = strawberry.field(description=TITLE)
    content: Maybe[str | None] = strawberry.field(description=CONTENT)
    campaign: Maybe[bool | None] = strawberry.field(description="Whether it is made for campaigns.")
    margins: Maybe[MarginsInput | None] = strawberry.field(description="The margins of a letter; an absent side stays.")
    team_id: Maybe[strawberry.ID | None] = strawberry.field(description=TEAM)
    group_id: Maybe[strawberry.ID | None] = strawberry.field(description=GROUP)


def template_given(input: TemplateInput | UpdateTemplateInput) -> TemplateGiven:
    """What the client wrote, without what they left out."""
    found = given_values(input, ("team_id", "group_id"))
    found |= without_nulls(given_values(input, ("type", "campaign")))
    found |= {name: value or "" for name, value in given_values(input, ("title", "content")).items()}
    if input.margins is not None and input.margins.value is not None:
        margins = without_nulls(given_values(input.margins.value, ("top", "right", "bottom", "left")))
        found["margins"] = cast("MarginsGiven", margins)
    return cast("TemplateGiven", found)

"""What does a client write to make or change a campaign?"""

from __future__ import annotations

from typing import cast

import strawberry
from strawberry import Maybe

from content.addresses import LONGEST_ADDRESS
from resolvers.changes.campaign_drafts import MOST_TASK_USERS, CampaignGiven, TaskGiven
from resolvers.changes.campaign_rules import (
    LONGEST_CONTENT,
    LONGEST_DESCRIPTION,
    LONGEST_NAME,
    LONGEST_SUBJECT,
)
from schema.filters import ContactSelection, filter_given
from schema.scalars import Moment
from store.models import CampaignScope, CampaignType, DistributionStrategy

NAME = f"The campaign's name, one line; at most {LONGEST_NAME} characters."
DESCRIPTION = f"What the campaign is about; at most {LONGEST_DESCRIPTION:,} characters."
APPROVED = "Whether it may be sent; true if absent."
TYPE = "How it reaches people."
SCOPE = "Who sees it; everyone in the company if absent."
TEAM = "The team it belongs to; required for the scope TEAM."
GROUP = "The group it belongs to; required for the scope GROUP."
MESSAGE = "What it says."
FILTER = "Which contacts it goes to; required when it is approved, and must hold a condition."
TEMPLATE = "The template it is set in, of the campaign's own type; campaigns by telephone take none."
SEND_AT = "When it is to be sent: a time to come. Required when it is approved"
TASK = "The work that it makes for users."


@strawberry.input(description="What a campaign says; may hold merge fields such as {{contact.first_name|there}}.")
class MessageInput:
    subject: Maybe[str | None] = strawberry.field(
        description=f"The subject line; required for e-mails and for drafts; at most {LONGEST_SUBJECT} characters."
    )
    content: Maybe[str | None] = strawberry.field(
        description="The text (HTML); required for e-mails, letters and drafts; at most "
        f"{LONGEST_CONTENT:,} characters."
    )
    sender: Maybe[str | None] = strawberry.field(
        description="The address it is sent from, of the company's own domain; required for e-mails and for drafts; "
        f"at most {LONGEST_ADDRESS} characters."
    )


@strawberry.input(description="The work that a campaign makes for users.")
class TaskInput:
    distribution_strategy: DistributionStrategy = strawberry.field(description="How the tasks are shared out.")
    distribute_user_ids: list[strawberry.ID] = strawberry.field(
        description=f"The users that the tasks go to, in this order; 1 to {MOST_TASK_USERS}."
    )
    relations_path_id: strawberry.ID = strawberry.field(description="The path of the cases that tasks are made on.")
    start_at: Moment = strawberry.field(description="From when the tasks are to be done; after the campaign is sent.")
    end_at: Moment = strawberry.field(description="By when the tasks are to be done; after startAt.")


@strawberry.input(description="A new campaign.")
class CampaignInput:
    name: str = strawberry.field(description=NAME)
    type: CampaignType = strawberry.field(description=TYPE)
    description: Maybe[str | None] = strawberry.field(description=DESCRIPTION)
    approved: Maybe[bool | None] = strawberry.field(description=APPROVED)
    scope: Maybe[CampaignScope | None] = strawberry.field(description=SCOPE)
    team_id: Maybe[strawberry.ID | None] = strawberry.field(description=TEAM)
    group_id: Maybe[strawberry.ID | None] = strawberry.field(description=GROUP)
    message: Maybe[MessageInput | None] = strawberry.field(description=MESSAGE)
    filter: Maybe[ContactSelection | None] = strawberry.field(description=FILTER)
    template_id: Maybe[strawberry.ID | None] = strawberry.field(description=TEMPLATE)
    send_at: Maybe[Moment | None] = strawberry.field(description=f"{SEND_AT}, unless executeNow is given.")
    execute_now: Maybe[bool | None] = strawberry.field(
        description="True sends it at once if it is approved, whatever sendAt says, and takes the scope `send`; false "
        "lets an approved campaign be saved without a time."
    )
    task: Maybe[TaskInput | None] = strawberry.field(description=TASK)


@strawberry.input(
    description="What is to change of a campaign; what is absent stays, null takes away what may be absent."
)
class UpdateCampaignInput:
    name: Maybe[str | None] = strawberry.field(description=NAME)
    type: Maybe[CampaignType | None] = strawberry.field(description=TYPE)
    description: Maybe[str | None] = strawberry.field(description=DESCRIPTION)
    approved: Maybe[bool | None] = strawberry.field(description="Whether it may be sent.")
    scope: Maybe[CampaignScope | None] = strawberry.field(description="Who sees it.")
    team_id: Maybe[strawberry.ID | None] = strawberry.field(description=TEAM)
    group_id: Maybe[strawberry.ID | None] = strawberry.field(description=GROUP)
    message: Maybe[MessageInput | None] = strawberry.field(description=MESSAGE)
    filter: Maybe[ContactSelection | None] = strawberry.field(description=FILTER)
    template_id: Maybe[strawberry.ID | None] = strawberry.field(description=TEMPLATE)
    send_at: Maybe[Moment | None] = strawberry.field(description=f"{SEND_AT}.")
    task: Maybe[TaskInput | None] = strawberry.field(description=f"{TASK} The given one takes the place of the old.")


PLAIN = ("description", "team_id", "group_id", "template_id", "send_at", "execute_now")
# There is always one, so null says no more than silence.
ALWAYS_THERE = ("type", "approved", "scope")


def campaign_given(input: CampaignInput | UpdateCampaignInput) -> CampaignGiven:
    """What the client wrote, without what they left out."""
    found: dict[str, object] = given_values(input, PLAIN)
    found |= without_nulls(given_values(input, ALWAYS_THERE))
    found |= {name: value or "" for name, value in given_values(input, ("name",)).items()}
    if input.message is not None:
        message = input.message.value
        texts = ("subject", "content", "sender")
        found |= dict.fromkeys(texts) if message is None else given_values(message, texts)
    if input.filter is not None:
        condition = input.filter.value
        found["filter"] = None if condition is None else filter_given(condition)
    if input.task is not None:
        task = input.task.value
        found["task"] = None if task is None else task_given(task)
    return cast("CampaignGiven", found)


def task_given(task: TaskInput) -> TaskGiven:
    return {
        "distribution_strategy": task.distribution_strategy,
        "distribute_user_ids": [str(user_id) for user_id in task.distribute_user_ids],
        "relations_path_id": str(task.relations_path_id),
        "start_at": task.start_at,
        "end_at": task.end_at,
    }


def given_values(input: object, names: tuple[str, ...]) -> dict[str, object]:
    """The attributes that the client gave, by their names; null stands as None."""
    found: dict[str, object] = {}
    for name in names:
        value = getattr(input, name, None)
        if isinstance(value, strawberry.Some):
            found[name] = value.value
        elif value is not None:
            found[name] = value
    return found


def without_nulls(given: dict[str, object]) -> dict[str, object]:
    """Of values that are always there, for which null says no more than silence."""
    return {name: value for name, value in given.items() if value is not None}

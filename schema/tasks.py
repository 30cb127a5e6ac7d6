"""What does a client see of the calls that campaigns make for users, and how are they ticked off?"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from resolvers import tasks as task_edges
from resolvers.changes import tasks
from resolvers.edges import One
from schema.fields import ContextInfo, column, to_one
from schema.mutation_fields import mutation, writing
from schema.nodes import Node, global_id
from schema.payloads import Payload
from schema.registry import annotate, object_type

# The key is that of the row which the change made.
PAYLOAD_TASK = One("TaskPayload.task", task_edges.CAMPAIGN_TASK, key="key")
TaskId = Annotated[strawberry.ID, strawberry.argument(description="The task's global id, or its databaseId.")]
WHO = "For whom it is, and for managers and administrators who see it."


@object_type(task_edges.CAMPAIGN_TASK, "One call to make: a campaign by telephone has one for each recipient.")
class CampaignTask(Node):
    id: strawberry.ID = global_id(task_edges.CAMPAIGN_TASK)
    database_id: UUID = column("id", "The task's own id.")
    start_at: datetime = column("start_at", "From when it is to be done.")
    end_at: datetime = column("end_at", "By when it is to be done.")
    done_at: datetime | None = column("done_at", "When it was done; null while it is not.")
    is_done: bool = column("is_done", "Whether it is done.")
    is_overdue: bool = column("is_overdue", "Whether it is not done although its end has come.")
    created_at: datetime = column("created_at", "When the task was made.")
    updated_at: datetime = column("updated_at", "When the task was last changed.")

    user = to_one(task_edges.TASK_USER, "Who is to do it.")
    done_by = to_one(task_edges.TASK_DONE_BY, "Who has done it; null while it is not done.", nullable=True)
    contact = to_one(task_edges.TASK_CONTACT, "Whom to call; null when deleted since.", nullable=True)
    campaign = to_one(task_edges.TASK_CAMPAIGN, "The campaign; null for one that you may not see.", nullable=True)
    recipient = to_one(
        task_edges.TASK_RECIPIENT,
        "The state of the delivery; null when you may not see the campaign.",
        nullable=True,
    )


@strawberry.type
@annotate
class TaskPayload(Payload):
    """What the payloads of mutations of one task have."""

    task = to_one(PAYLOAD_TASK, "The task as it is now; null when nothing was changed.", nullable=True)


@strawberry.type(description="What came of completeTask.")
class CompleteTaskPayload(TaskPayload):
    pass


@strawberry.type(description="What came of reopenTask.")
class ReopenTaskPayload(TaskPayload):
    pass


# Resolvers answer an `Outcome`, which the fields of the payloads read: hence Any.
async def complete_task(info: ContextInfo, id: TaskId) -> Any:
    return await writing(info, lambda: tasks.complete_task(info.context, id))


async def reopen_task(info: ContextInfo, id: TaskId) -> Any:
    return await writing(info, lambda: tasks.reopen_task(info.context, id))


@strawberry.type
class TaskMutations:
    """The mutations of tasks."""

    complete_task: CompleteTaskPayload | None = mutation(
        complete_task,
        "Says that the call was made: its recipient is DELIVERED. A task that is done already stays as it is. " + WHO,
    )
    reopen_task: ReopenTaskPayload | None = mutation(
        reopen_task,
        "Says that the call is still to be made: its recipient is SENT again. A task that is not done stays as it is. "
        + WHO,
    )

"""What does a client see of companies, users, teams and groups?"""

from __future__ import annotations

from datetime import datetime

import strawberry

from resolvers import campaigns as campaign_edges
from resolvers import contacts as contact_edges
from resolvers import exports as export_edges
from resolvers import people as people_edges
from resolvers import tasks as task_edges
from resolvers import templates as template_edges
from resolvers import test_deliveries as delivery_edges
from schema import inputs
from schema.fields import column, connection, to_many, to_one
from schema.nodes import Node, global_id
from schema.registry import object_type
from schema.scalars import URL, EmailAddress
from store.models import Role

CREATED_AT = "When the row was made."
UPDATED_AT = "When the row was last changed."


@object_type(people_edges.COMPANY, "The customer whose campaigns these are; every other object belongs to one.")
class Company(Node):
    id: strawberry.ID = global_id(people_edges.COMPANY)
    database_id: int = column("id", "The company's number.")
    name: str = column("name", "The company's name.")
    time_zone: str = column("time_zone", "The zone in which times without an offset are meant (IANA name).")
    created_at: datetime = column("created_at", CREATED_AT)
    updated_at: datetime = column("updated_at", UPDATED_AT)


@object_type(people_edges.USER, "A person who works with campaigns.")
class User(Node):
    id: strawberry.ID = global_id(people_edges.USER)
    database_id: int = column("id", "The user's number.")
    first_name: str = column("first_name", "The first name.")
    last_name: str = column("last_name", "The last name.")
    phone_number: str | None = column("phone_number", "The phone number, as it was typed.")
    job_title: str | None = column("job_title", "What the user does in the company.")
    email: EmailAddress = column("email", "The e-mail address.")
    email_notifications: bool = column("email_notifications", "Whether the user wants to be told by e-mail.")
    profile_picture: URL | None = column("profile_picture", "Where the user's picture is.")
    system_user: bool = column("is_system_user", "Whether this is a program rather than a person.")
    role: Role = column("role", "What the user may see and do.")
    created_at: datetime = column("created_at", CREATED_AT)
    updated_at: datetime = column("updated_at", UPDATED_AT)

    teams = to_many(people_edges.USER_TEAMS, "The teams that the user is in, by name.")
    campaigns = connection(
        campaign_edges.USER_CAMPAIGNS,
        "The campaigns that the user wrote.",
        inputs.CampaignOrder,
        inputs.CampaignFilter,
    )
    task_campaigns = connection(
        campaign_edges.USER_TASK_CAMPAIGNS,
        "The campaigns whose tasks are shared out to the user, among others.",
        inputs.CampaignOrder,
        inputs.CampaignFilter,
    )
    tasks = connection(
        task_edges.USER_TASKS,
        "The calls that campaigns make for the user: all for administrators, and for others than the user those of "
        "campaigns that they see.",
        inputs.CampaignTaskOrder,
        inputs.CampaignTaskFilter,
    )
    templates = connection(
        template_edges.USER_TEMPLATES,
        "The templates that the user wrote.",
        inputs.TemplateOrder,
        inputs.TemplateFilter,
    )
    contacts = connection(
        contact_edges.USER_CONTACTS,
        "The contacts that the user is responsible for.",
        inputs.ContactOrder,
        inputs.ContactFilter,
    )
    test_deliveries = connection(
        delivery_edges.USER_TEST_DELIVERIES,
        "The test mails that the user asked for and you may see.",
        inputs.TestDeliveryOrder,
        inputs.TestDeliveryFilter,
    )
    exports = connection(
        export_edges.USER_EXPORTS,
        "The exports that the user asked for.",
        inputs.ExportOrder,
        inputs.ExportFilter,
    )


@object_type(people_edges.TEAM, "Users who work together.")
class Team(Node):
    id: strawberry.ID = global_id(people_edges.TEAM)
    database_id: int = column("id", "The team's number.")
    name: str = column("name", "The team's name.")
    created_at: datetime = column("created_at", CREATED_AT)
    updated_at: datetime = column("updated_at", UPDATED_AT)

    group = to_one(people_edges.TEAM_GROUP, "The group that the team belongs to.", nullable=True)
    users = connection(people_edges.TEAM_USERS, "The users of the team.", inputs.UserOrder, inputs.UserFilter)
    campaigns = connection(
        campaign_edges.TEAM_CAMPAIGNS,
        "The campaigns of the team.",
        inputs.CampaignOrder,
        inputs.CampaignFilter,
    )
    templates = connection(
        template_edges.TEAM_TEMPLATES,
        "The templates of the team.",
        inputs.TemplateOrder,
        inputs.TemplateFilter,
    )
    contacts = connection(
        contact_edges.TEAM_CONTACTS, "The contacts of the team.", inputs.ContactOrder, inputs.ContactFilter
    )


@object_type(people_edges.GROUP, "Teams that belong together.")
class Group(Node):
    id: strawberry.ID = global_id(people_edges.GROUP)
    database_id: int = column("id", "The group's number.")
    name: str = column("name", "The group's name.")
    created_at: datetime = column("created_at", CREATED_AT)
    updated_at: datetime = column("updated_at", UPDATED_AT)

    teams = connection(people_edges.GROUP_TEAMS, "The teams of the group.", inputs.NameOrder)
    campaigns = connection(
        campaign_edges.GROUP_CAMPAIGNS,
        "The campaigns of the group.",
        inputs.CampaignOrder,
        inputs.CampaignFilter,
    )
    templates = connection(
        template_edges.GROUP_TEMPLATES,
        "The templates of the group.",
        inputs.TemplateOrder,
        inputs.TemplateFilter,
    )

"""How are accounts, contacts, their lists and the definitions of their fields read?"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ARRAY, Boolean, Text, any_

from resolvers.edges import CompiledFilter, Filter, Link, Many, One, Paged
from resolvers.pages import Direction, Sort, SortKind
from resolvers.people import TEAM, USER
from resolvers.search import containing, like_pattern
from resolvers.sources import Source
from store import access
from store.filters import condition
from store.models import (
    Account,
    Contact,
    ContactList,
    ContactListMember,
    Field,
    FieldOwner,
    RelationsPath,
)

ACCOUNT = Source("Account", Account, access.whole_company(Account))
CONTACT = Source("Contact", Contact, access.whole_company(Contact))
CONTACT_LIST = Source("ContactList", ContactList, access.whole_company(ContactList))
FIELD = Source("ContactField", Field, access.whole_company(Field))
RELATIONS_PATH = Source("RelationsPath", RelationsPath, access.whole_company(RelationsPath))

SORTS = {
    "CREATED_AT": Sort(Contact.created_at, SortKind.TIME),
    "UPDATED_AT": Sort(Contact.updated_at, SortKind.TIME),
    "NAME": Sort(Contact.sort_name, SortKind.TEXT),
    "LATEST_ACTIVITY_AT": Sort(Contact.sort_latest_activity_at, SortKind.TIME),
}
FILTERS: Mapping[str, Filter | CompiledFilter] = {
    "status_in": Filter(ARRAY(Text()), lambda wanted: Contact.status == any_(wanted)),
    "b2c": Filter(Boolean(), lambda wanted: Contact.b2c == wanted),
    "search": Filter(Text(), lambda words: containing(Contact.search_text, words), like_pattern),
    "where": CompiledFilter(condition),
}
LIST_SORTS = {
    "NAME": Sort(ContactList.sort_name, SortKind.TEXT),
    "CREATED_AT": Sort(ContactList.created_at, SortKind.TIME),
}
FIELD_SORTS = {"SORT_ORDER": Sort(Field.sort_order, SortKind.NUMBER)}
FIELD_FILTERS = {
    "owner": Filter(Text(), lambda wanted: Field.owner == wanted),
    "custom": Filter(Boolean(), lambda wanted: Field.custom == wanted),
}
PATH_SORTS = {"NAME": Sort(RelationsPath.sort_name, SortKind.TEXT)}


def contacts_of(name: str, *, key: str, child_key: str, link: Link | None = None) -> Paged:
    """The contacts of a parent, newest first."""
    return Paged(
        name,
        CONTACT,
        key=key,
        child_key=child_key,
        sorts=SORTS,
        order="CREATED_AT",
        direction=Direction.DESC,
        filters=FILTERS,
        link=link,
    )


CONTACTS = contacts_of("Query.contacts", key="company_id", child_key="company_id")
ACCOUNT_CONTACTS = contacts_of("Account.contacts", key="id", child_key="account_id")
USER_CONTACTS = contacts_of("User.contacts", key="id", child_key="user_id")
TEAM_CONTACTS = contacts_of("Team.contacts", key="id", child_key="team_id")
LIST_CONTACTS = contacts_of(
    "ContactList.contacts",
    key="id",
    child_key="id",
    link=Link(ContactListMember, parent="list_id", child="contact_id"),
)
CONTACT_LISTS = Paged(
    "Query.contactLists",
    CONTACT_LIST,
    key="company_id",
    child_key="company_id",
    sorts=LIST_SORTS,
    order="NAME",
)
CONTACT_FIELDS = Paged(
    "Query.contactFields",
    FIELD,
    key="company_id",
    child_key="company_id",
    sorts=FIELD_SORTS,
    order="SORT_ORDER",
    filters=FIELD_FILTERS,
    page_size=100,
)
RELATIONS_PATHS = Paged(
    "Query.relationsPaths",
    RELATIONS_PATH,
    key="company_id",
    child_key="company_id",
    sorts=PATH_SORTS,
    order="NAME",
)

CONTACT_ACCOUNT = One("Contact.account", ACCOUNT, key="account_id")
CONTACT_USER = One("Contact.user", USER, key="user_id")
CONTACT_TEAM = One("Contact.team", TEAM, key="team_id")
CONTACT_CONTACT_LISTS = Many(
    "Contact.lists",
    CONTACT_LIST,
    key="id",
    child_key="id",
    order=[ContactList.sort_name, ContactList.id],
    link=Link(ContactListMember, parent="contact_id", child="list_id"),
)


def fields_of(name: str, owner: FieldOwner, *, custom: bool) -> Many:
    """The definitions of one kind of field; the parent is any row of the company."""
    return Many(
        name,
        FIELD,
        key="company_id",
        child_key="company_id",
        order=[Field.sort_order, Field.id],
        where=lambda: (Field.owner == owner) & Field.custom.is_(custom),
    )


CONTACT_FIXED_FIELDS = fields_of("Contact.fixedFields", FieldOwner.CONTACT, custom=False)
CONTACT_CUSTOM_FIELDS = fields_of("Contact.customFields", FieldOwner.CONTACT, custom=True)
ACCOUNT_FIXED_FIELDS = fields_of("Account.fixedFields", FieldOwner.ACCOUNT, custom=False)
ACCOUNT_CUSTOM_FIELDS = fields_of("Account.customFields", FieldOwner.ACCOUNT, custom=True)

"""Which rules does a campaign break? The one rule book: for saving, trying, approving, sending and testing alike.

The numbers are those of the domain's rules. A rule says all that is wrong by it; none stops at the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from functools import lru_cache

from content.addresses import LONGEST_ADDRESS, address_problem, ascii_domain, domain_of
from content.problems import ContentProblem, content_problems, subject_problems
from resolvers.changes.aside import aside
from resolvers.changes.campaign_drafts import CampaignDraft, TaskDraft, absent_references
from resolvers.changes.user_errors import (
    CONTENT_CODES,
    Path,
    UserError,
    UserErrorCode,
    absent,
    line_errors,
    text_errors,
)
from store.models import CampaignScope, CampaignType, TemplateType

LONGEST_NAME = 255
LONGEST_DESCRIPTION = 10_000
LONGEST_SUBJECT = 255
LONGEST_CONTENT = 500_000


@dataclass(frozen=True)
class Facts:
    """What the rules have to know of the company: which of the rows that the draft names are there and to be seen.

    `sender_domain`: the company's own, or the one made of its slug; None until one is set. `own_team_ids` and
    `own_group_ids`: those that the viewer may put a campaign into; None for whoever may use all. `merge_fields`: the
    names that `{{…}}` may hold.
    """

    now: datetime
    sender_domain: str | None
    merge_fields: frozenset[str] = frozenset()
    template_type: TemplateType | None = None
    team_found: bool = False
    group_found: bool = False
    path_found: bool = False
    user_ids: Set[int] = frozenset()
    filter_rows: Set[tuple[str, object]] = frozenset()
    own_team_ids: Set[int] | None = None
    own_group_ids: Set[int] | None = None


class Occasion(Enum):
    """What is about to be done with the campaign: not all rules matter each time.

    CHANGING is an update that touches neither time nor approval, so that what is stored of them may stay.
    """

    SAVING = auto()
    CHANGING = auto()
    APPROVING = auto()
    WITHDRAWING = auto()
    SENDING = auto()
    TESTING = auto()
    PREVIEWING = auto()


@dataclass(frozen=True)
class Case:
    """A draft, the facts that it is held against, and why."""

    draft: CampaignDraft
    facts: Facts
    occasion: Occasion


Check = Callable[[Case], Iterator[UserError]]


@dataclass(frozen=True)
class Rule:
    """`number` is the domain's, or a name where it is the gateway's own."""

    number: str
    check: Check
    occasions: Set[Occasion]


def required(*path: str, why: str = "") -> UserError:
    return UserError(path, UserErrorCode.REQUIRED, f"This is required{why}.")


def is_missing(text: str | None) -> bool:
    return text is None or not text.strip()


def content_errors(problems: list[ContentProblem], path: Path) -> Iterator[UserError]:
    for problem in problems:
        yield UserError(path, CONTENT_CODES[problem.code], problem.message)


def has_a_name(case: Case) -> Iterator[UserError]:
    """Rule 1: name and type are required (the type by the schema itself)."""
    if is_missing(case.draft.name):
        yield required("name")


def says_what_its_type_needs(case: Case) -> Iterator[UserError]:
    """Rule 2: content for drafts, e-mails and letters; subject and sender for drafts and e-mails."""
    draft = case.draft
    by_mail = draft.type in (CampaignType.EMAIL, CampaignType.LETTER)
    why = " until the campaign is approved" if draft.approved is False else f" for a campaign by {draft.type.lower()}"
    if (not draft.approved or by_mail) and is_missing(draft.content):
        yield required("message", "content", why=why)
    if not draft.approved or draft.type is CampaignType.EMAIL:
        if is_missing(draft.subject):
            yield required("message", "subject", why=why)
        if is_missing(draft.sender):
            yield required("message", "sender", why=why)


def selects_someone(case: Case) -> Iterator[UserError]:
    """Rule 3: an approved campaign has a filter, and an empty one is none."""
    if case.draft.approved and case.draft.filter is None and case.draft.is_readable("filter"):
        yield required("filter", why=" when the campaign is approved, and must hold a condition")


def template_fits(case: Case) -> Iterator[UserError]:
    """Rule 4: the template is there, may be seen, and is made for this type; one that was deleted is missed."""
    draft, facts = case.draft, case.facts
    if draft.template_deleted and draft.approved and case.occasion in TEMPLATE_NEEDED:
        message = "The template was deleted: choose another, or null to send the campaign without."
        yield UserError(("templateId",), UserErrorCode.TEMPLATE_DELETED, message)
    if draft.template_id is None:
        return
    if facts.template_type is None:
        yield absent("Template", ["templateId"])
    elif facts.template_type.value != draft.type.value:
        message = (
            "A campaign by telephone takes no template."
            if draft.type is CampaignType.TELEPHONE
            else f"This template is made for {facts.template_type.value}, the campaign is {draft.type.value}."
        )
        yield UserError(("templateId",), UserErrorCode.TEMPLATE_TYPE_MISMATCH, message)


def is_sent_in_time(case: Case) -> Iterator[UserError]:
    """Rules 5 and 9: the time lies ahead; approved campaigns have one, unless they are made to be sent at once."""
    draft = case.draft
    if draft.send_at is not None:
        if draft.send_at <= case.facts.now and case.occasion is not Occasion.SENDING and not draft.goes_at_once:
            yield UserError(("sendAt",), UserErrorCode.NOT_IN_FUTURE, "This time is past.")
        return
    needed = {Occasion.SAVING: draft.approved and draft.execute_now is None, Occasion.SENDING: True}
    if needed.get(case.occasion, False) and draft.is_readable("sendAt"):
        yield required("sendAt", why=" before an approved campaign can be sent")


def task_is_complete(case: Case) -> Iterator[UserError]:
    """Rule 6: users and path are the company's, the task begins after the sending and ends after it begins."""
    task = case.draft.task
    if task is None:
        return
    yield from task_names_its_people(task, case.facts)
    at_once = case.draft.goes_at_once or case.occasion is Occasion.SENDING
    sent = case.facts.now if at_once else case.draft.send_at
    if task.start_at is not None and sent is not None and task.start_at <= sent:
        yield UserError(("task", "startAt"), UserErrorCode.NOT_AFTER, "The task must begin after the campaign is sent.")
    if task.start_at is not None and task.end_at is not None and task.end_at <= task.start_at:
        yield UserError(("task", "endAt"), UserErrorCode.NOT_AFTER, "The task must end after it begins.")


def task_names_its_people(task: TaskDraft, facts: Facts) -> Iterator[UserError]:
    if not task.user_ids:
        yield required("task", "distributeUserIds")
    for place, user_id in enumerate(task.user_ids):
        path = ("task", "distributeUserIds", str(place))
        if user_id is None:
            continue  # Said where it was read.
        if user_id in task.user_ids[:place]:
            yield UserError(path, UserErrorCode.DUPLICATE, "This user is named twice.")
        elif user_id not in facts.user_ids:
            yield absent("User", path)
    if task.relations_path_id is not None and not facts.path_found:
        yield absent("RelationsPath", ["task", "relationsPathId"])


def company_can_send(case: Case) -> Iterator[UserError]:
    """Rule 7: a campaign domain or slug is set before there can be campaigns."""
    yield from domain_missing(case.facts.sender_domain)


def domain_missing(sender_domain: str | None) -> Iterator[UserError]:
    if sender_domain is None:
        message = "Set a campaign domain first: updateCampaignSettings takes a domainSlug."
        yield UserError((), UserErrorCode.DOMAIN_MISSING, message)


def sender_is_the_companys(case: Case) -> Iterator[UserError]:
    """Rule 14: only the company's own domain sends."""
    sender, domain = case.draft.sender, case.facts.sender_domain
    path = ("message", "sender")
    if sender is None or not sender.strip() or line_errors(path, sender, LONGEST_ADDRESS):
        return
    problem = address_problem(sender)
    if problem is not None:
        yield UserError(path, UserErrorCode.INVALID_EMAIL, problem)
    elif domain is not None and domain_of(sender) != ascii_domain(domain):
        message = f"The sender must have an address of the company's domain, {domain}."
        yield UserError(path, UserErrorCode.SENDER_NOT_OF_DOMAIN, message)


def texts_can_be_kept(case: Case) -> Iterator[UserError]:
    """Documented lengths; names, subjects and addresses of one line, without control characters."""
    draft = case.draft
    yield from line_errors(("name",), draft.name, LONGEST_NAME)
    yield from text_errors(("description",), draft.description, LONGEST_DESCRIPTION)
    yield from line_errors(("message", "subject"), draft.subject or "", LONGEST_SUBJECT)
    yield from line_errors(("message", "sender"), draft.sender or "", LONGEST_ADDRESS)
    yield from text_errors(("message", "content"), draft.content or "", LONGEST_CONTENT)


def merge_fields_are_known(case: Case) -> Iterator[UserError]:
    """Every `{{…}}` names a field that there is, in a place where its value can do no harm."""
    draft, known = case.draft, case.facts.merge_fields
    if draft.subject and not line_errors((), draft.subject, LONGEST_SUBJECT):
        yield from content_errors(subject_problems(draft.subject, known), ("message", "subject"))
    if draft.content and not text_errors((), draft.content, LONGEST_CONTENT):
        yield from content_errors(problems_of_content(draft.content, known), ("message", "content"))


# A campaign's actions ask for each action in a row, and reading a long text takes milliseconds.
problems_of_content = lru_cache(maxsize=8)(content_problems)


def scope_names_its_people(case: Case) -> Iterator[UserError]:
    """A campaign of a team or a group names it; one may use one's own, administrators all."""
    draft, facts = case.draft, case.facts
    if draft.scope is CampaignScope.TEAM and draft.team_id is None and draft.is_readable("teamId"):
        yield required("teamId", why=" for a campaign of a team")
    if draft.scope is CampaignScope.GROUP and draft.group_id is None and draft.is_readable("groupId"):
        yield required("groupId", why=" for a campaign of a group")
    if draft.team_id is not None:
        yield from own_or_absent("Team", "teamId", draft.team_id, facts.team_found, facts.own_team_ids)
    if draft.group_id is not None:
        yield from own_or_absent("Group", "groupId", draft.group_id, facts.group_found, facts.own_group_ids)


def filter_names_rows(case: Case) -> Iterator[UserError]:
    """The lists, users, teams and accounts that a new filter names are the company's; not too many are told."""
    yield from absent_references(case.draft.references, case.facts.filter_rows)


def own_or_absent(typename: str, name: str, key: int, found: bool, own: Set[int] | None) -> Iterator[UserError]:
    if not found:
        yield absent(typename, [name])
    elif own is not None and key not in own:
        yield UserError((name,), UserErrorCode.FORBIDDEN, f"You are not in this {typename.lower()}.")


EVERY = frozenset(Occasion)
STANDING = EVERY - {Occasion.WITHDRAWING}
IN_EARNEST = STANDING - {Occasion.TESTING, Occasion.PREVIEWING}
BY_MAIL = STANDING - {Occasion.PREVIEWING}
WRITTEN = frozenset({Occasion.SAVING, Occasion.CHANGING})
TEMPLATE_NEEDED = frozenset({Occasion.SAVING, Occasion.APPROVING, Occasion.SENDING})
RULES = (
    Rule("1", has_a_name, IN_EARNEST),
    Rule("2", says_what_its_type_needs, EVERY - {Occasion.PREVIEWING}),
    Rule("3", selects_someone, IN_EARNEST),
    Rule("4", template_fits, STANDING),
    Rule("5", is_sent_in_time, frozenset({Occasion.SAVING, Occasion.APPROVING, Occasion.SENDING})),
    Rule("6", task_is_complete, IN_EARNEST),
    Rule("7", company_can_send, BY_MAIL),
    Rule("14", sender_is_the_companys, BY_MAIL),
    Rule("texts", texts_can_be_kept, STANDING),
    Rule("merge fields", merge_fields_are_known, STANDING),
    Rule("scope", scope_names_its_people, WRITTEN),
    Rule("filter rows", filter_names_rows, WRITTEN),
)


async def find_broken_rules(draft: CampaignDraft, facts: Facts, occasion: Occasion) -> list[UserError]:
    """As `broken_rules`, without holding up other requests."""
    return await aside(len(draft.content or ""), lambda: broken_rules(draft, facts, occasion))


def broken_rules(draft: CampaignDraft, facts: Facts, occasion: Occasion) -> list[UserError]:
    """Everything that is wrong with the campaign; paths begin at its input."""
    case = Case(draft, facts, occasion)
    held = (rule.check(case) for rule in RULES if occasion in rule.occasions)
    # A campaign that is withdrawn goes nowhere, whatever has become of its filter.
    unread = () if occasion is Occasion.WITHDRAWING else draft.errors
    return [*unread, *(error for errors in held for error in errors)]

"""How many rows of what does each company of the demonstration get?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum


class Size(StrEnum):
    """How much is made: to look at (under a second), to work with, or to measure with (about a minute)."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


@dataclass(frozen=True)
class Profile:
    """Who a company is; `home_country` is a position in `words.sql`."""

    company_name: str
    time_zone: str
    home_country: int
    email_domain: str
    domain: str | None
    domain_slug: str | None

    @property
    def sender(self) -> str:
        return f"hello@{self.domain}" if self.domain else f"noreply@{self.domain_slug}.campaigns.example"


@dataclass(frozen=True)
class Counts:
    """Rows of a company, or of all. `recipients` is an upper bound: a small audience may not hold as many."""

    groups: int
    teams: int
    users: int
    templates: int
    lists: int
    contacts: int
    campaigns: int
    recipients: int
    exports: int


@dataclass(frozen=True)
class Shape:
    """What a size means.

    `shares`: percent of the totals that each company gets. `rounds`: times that the newest campaigns go through
    all types and statuses. `largest`: percent of a company's recipients that its newest campaign has.
    `filter_share`, `message_share`, `report_share`: one of how many contacts, or campaigns, is looked at, or has
    its messages, or its delivery reports, kept.
    """

    shares: tuple[int, ...]
    total: Counts
    rounds: int
    largest: int
    filter_share: int
    message_share: int
    report_share: int


@dataclass(frozen=True)
class CompanyPlan:
    """One company: what to make, and which ids are taken by the companies before it."""

    company_id: int
    profile: Profile
    shape: Shape
    counts: Counts
    before: Counts

    def sizes(self) -> dict[str, int]:
        """How many there are to be of each noun."""
        return {**asdict(self.counts), "accounts": self.counts.contacts // 3, "relations_paths": 5}

    def parameters(self) -> dict[str, object]:
        """What the SQL statements are bound with, but for the portion."""
        names = {"groups": "group", "teams": "team", "users": "user", "templates": "template", "lists": "list"}
        before = asdict(self.before)
        return {
            "company_id": self.company_id,
            **asdict(self.profile),
            "sender": self.profile.sender,
            **self.sizes(),
            **{f"{name}_base": before[plural] for plural, name in names.items()},
            "recipient_base": self.before.recipients,
            "rounds": self.shape.rounds,
            "largest": self.counts.recipients * self.shape.largest // 100,
            "filter_share": self.shape.filter_share,
            "message_share": self.shape.message_share,
            "report_share": self.shape.report_share,
        }

    def rows(self) -> dict[str, int]:
        """About how many rows each larger step makes, by the step's name."""
        return {
            "names": self.counts.contacts,
            "accounts": self.counts.contacts // 3,
            "contacts": self.counts.contacts,
            "list members": self.counts.contacts // 2,
            "audiences": 6 * self.counts.contacts,
            "campaigns": self.counts.campaigns,
            "recipients": self.counts.recipients,
            "messages": self.counts.recipients // 2 // self.shape.message_share,
            "delivery reports": self.counts.recipients * 5 // 2 // self.shape.report_share,
        }


PROFILES = (
    Profile("Northwind Events", "Europe/Copenhagen", 0, "example.com", "northwind.example", "northwind"),
    Profile("Blue Harbour", "America/New_York", 1, "example.org", None, "blue-harbour"),
    Profile("Sakura Living", "Asia/Tokyo", 2, "example.net", None, "sakura-living"),
    Profile("Alpine Outdoor", "Europe/Zurich", 3, "alpine.example", "alpine.example", None),
)
SHAPES = {
    Size.SMALL: Shape(
        shares=(80, 20),
        total=Counts(5, 8, 12, 20, 10, 400, 60, 1_700, 36),
        rounds=1,
        largest=5,
        filter_share=1,
        message_share=1,
        report_share=1,
    ),
    Size.MEDIUM: Shape(
        shares=(80, 12, 8),
        total=Counts(8, 16, 60, 60, 20, 20_000, 2_000, 60_000, 110),
        rounds=4,
        largest=5,
        filter_share=1,
        message_share=1,
        report_share=1,
    ),
    Size.LARGE: Shape(
        shares=(80, 10, 6, 4),
        total=Counts(10, 18, 160, 120, 24, 200_000, 20_000, 1_000_000, 200),
        rounds=4,
        largest=5,
        filter_share=5,
        message_share=20,
        report_share=5,
    ),
}
# With fewer than these the smallest company could not show one of everything.
FEWEST = Counts(2, 2, 4, 8, 4, 80, 12, 300, 12)
NOTHING = Counts(0, 0, 0, 0, 0, 0, 0, 0, 0)


def companies(size: Size) -> Sequence[CompanyPlan]:
    """The companies of a size, the largest first; together they have exactly the size's totals."""
    shape = SHAPES[size]
    smaller = [part(shape.total, share) for share in shape.shares[1:]]
    plans: list[CompanyPlan] = []
    before = NOTHING
    for counts in (combined(shape.total, smaller, -1), *smaller):
        profile = PROFILES[len(plans)]
        plans.append(CompanyPlan(len(plans) + 1, profile, shape, counts, before))
        before = combined(before, [counts], 1)
    return plans


def part(total: Counts, percent: int) -> Counts:
    """That many percent of a total, but no fewer than a company needs."""
    fewest = asdict(FEWEST)
    return Counts(**{name: max(fewest[name], value * percent // 100) for name, value in asdict(total).items()})


def combined(start: Counts, others: Sequence[Counts], sign: int) -> Counts:
    """The others added to the start (sign 1) or taken from it (sign -1)."""
    others_as_dicts = [asdict(other) for other in others]
    return Counts(
        **{name: value + sign * sum(other[name] for other in others_as_dicts) for name, value in asdict(start).items()}
    )

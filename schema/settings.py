"""What does a client see of a company's campaign settings?"""

from __future__ import annotations

from datetime import datetime

import strawberry

from resolvers import settings as settings_edges
from schema.fields import column, computed, grouped, to_one
from schema.nodes import Node, global_id
from schema.registry import object_type, row_type
from schema.scalars import URL
from store.sql_types import AnyRow

REMOVAL = "Removal: 2027-11-01."
OLD_CONSENT = f"The old consent pages are gone; use unsubscribeUrl. {REMOVAL}"


@row_type(settings_edges.SETTINGS, "How recipients may withdraw their consent.")
class ConsentSettings:
    enable: bool = column("consent_enabled", "Whether the company has an unsubscribe page of its own.")
    unsubscribe_url: URL | None = column(
        "consent_unsubscribe_url", "The company's page, put in the footer of each mail when enabled."
    )
    subscribe_url: URL | None = column(
        "consent_subscribe_url", "Where recipients give their consent.", deprecated=OLD_CONSENT
    )
    subject: str | None = column("consent_subject", "The subject of the old consent mail.", deprecated=OLD_CONSENT)
    content: str | None = column("consent_content", "The content of the old consent mail.", deprecated=OLD_CONSENT)
    help_text: str | None = column("consent_help_text", "The help on the old consent page.", deprecated=OLD_CONSENT)

    template = to_one(
        settings_edges.CONSENT_TEMPLATE,
        "The template of the old consent mail.",
        nullable=True,
        deprecated=OLD_CONSENT,
    )


def default_sender(row: AnyRow, _context: object) -> str | None:
    """The custom domain wins over the slug (rule 14 of the domain)."""
    domain, slug, suffix = (getattr(row, name) for name in ("domain", "domain_slug", "domain_slug_suffix"))
    if domain is not None:
        return f"noreply@{domain}"
    return None if slug is None else f"noreply@{slug}.{suffix}"


@object_type(settings_edges.SETTINGS, "How a company's campaigns are sent.")
class CampaignSettings(Node):
    id: strawberry.ID = global_id(settings_edges.SETTINGS)
    domain: str | None = column("domain", "The company's own domain, set by the operators; it wins over the slug.")
    domain_slug: str | None = column("domain_slug", "The name under the shared domain that campaigns come from.")
    domain_slug_suffix: str = column("domain_slug_suffix", "The shared domain.")
    default_sender: str | None = computed(
        ("domain", "domain_slug", "domain_slug_suffix"),
        default_sender,
        "The address that campaigns come from; null until a domain or a slug is set.",
    )
    consent: ConsentSettings = grouped("How recipients may withdraw their consent.")
    updated_at: datetime = column("updated_at", "When the settings were last changed.")

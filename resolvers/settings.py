"""How are the campaign settings of a company read?"""

from __future__ import annotations

from resolvers.edges import One
from resolvers.sources import Source
from resolvers.templates import TEMPLATE
from store import access
from store.models import CampaignSettings

SETTINGS = Source("CampaignSettings", CampaignSettings, access.whole_company(CampaignSettings), key="company_id")

COMPANY_SETTINGS = One("Query.campaignSettings", SETTINGS, key="company_id")
CONSENT_TEMPLATE = One("ConsentSettings.template", TEMPLATE, key="consent_template_id")

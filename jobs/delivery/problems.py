"""Why could a campaign not be sent, or why does it wait? In words for its author."""

from __future__ import annotations

from dataclasses import dataclass

from store.models import CampaignProblem


@dataclass(frozen=True)
class Problem:
    """As it stands on the row of the delivery."""

    code: CampaignProblem
    message: str


EMPTY_AUDIENCE = Problem(CampaignProblem.EMPTY_AUDIENCE, "The filter selects nobody who may and can be reached.")
NOBODY_REACHED = Problem(CampaignProblem.NOBODY_REACHED, "Nobody could be reached; the recipients' reports say why.")
NOT_APPROVED = Problem(CampaignProblem.NOT_APPROVED, "The campaign is not approved.")
NO_FILTER = Problem(CampaignProblem.NO_FILTER, "The campaign has no filter.")
NO_DOMAIN = Problem(CampaignProblem.NO_DOMAIN, "The company has no campaign domain.")
NO_CONTENT = Problem(CampaignProblem.NO_CONTENT, "The campaign has no subject, content or sender.")
TEMPLATE_DELETED = Problem(CampaignProblem.TEMPLATE_DELETED, "The campaign's template was deleted after it was chosen.")
LETTERS_FAILED = Problem(CampaignProblem.LETTERS_FAILED, "The letters could not be made; their export says why.")
DEADLINE_PASSED = Problem(
    CampaignProblem.DEADLINE_PASSED, "The mail server could not be reached until it was too late."
)
INTERNAL_ERROR = Problem(CampaignProblem.INTERNAL_ERROR, "Something went wrong while it was sent.")


class Unsendable(Exception):
    """The campaign cannot be sent as it is."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


def broken_filter(why: str) -> Problem:
    return Problem(CampaignProblem.BROKEN_FILTER, f"The filter cannot be used any more: {why}")


def mail_server_unavailable(why: str) -> Problem:
    return Problem(CampaignProblem.MAIL_SERVER_UNAVAILABLE, f"Nothing can be sent for now: {why}")

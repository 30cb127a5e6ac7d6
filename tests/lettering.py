"""How does a test have letters written, and what do their pages say, and where?"""

from __future__ import annotations

import io
import zipfile
from typing import NamedTuple
from uuid import UUID

import psutil
from pypdf import PdfReader
from sqlalchemy import insert

from jobs.letters import letter_process
from store.models import Campaign, CampaignDelivery
from tests.build import TestCompany
from tests.exporting import Exports

CONTENT = "<p>Dear {{contact.first_name}} {{contact.last_name}},</p><p>you have {{contact.custom.cars|no}} cars.</p>"
MANY_RECIPIENTS = """
    INSERT INTO recipients (company_id, campaign_id, contact_id, address)
    SELECT company_id, :campaign_id, id, address FROM contacts
    WHERE company_id = :company_id AND last_name LIKE 'Person %' ORDER BY last_name
"""
MANY_PEOPLE = """
    INSERT INTO contacts (company_id, first_name, last_name, address, zip_code, city, country,
        letter_consent_given, custom_fields)
    SELECT :company_id, 'Ann' || n, 'Person ' || to_char(n, 'FM00000'), 'Street ' || n, '8000', 'City ' || n, 'Denmark',
        true,
        jsonb_build_object('cars', n)
    FROM generate_series(1, :people) AS n
"""
MILLIMETRE = 72 / 25.4


class Letters:
    """A campaign of letters to people who are called `Ann7 Person 00007` and have 7 cars."""

    def __init__(self, exports: Exports, campaign_id: UUID, people: int) -> None:
        self.exports = exports
        self.campaign_id = campaign_id
        self.people = people

    async def ask(self) -> UUID:
        return await self.exports.ask("ZIP", kind="LETTERS", campaign_id=self.campaign_id)

    async def statuses(self) -> list[str]:
        """Of the recipients, in their order."""
        sql = "SELECT array_agg(status ORDER BY id) FROM recipients WHERE campaign_id = :campaign_id"
        return list(await self.exports.value(sql, campaign_id=self.campaign_id))


async def letters_to(
    exports: Exports, company: TestCompany, people: int, *, content: str = CONTENT, **delivery: object
) -> Letters:
    """A campaign that was begun to be sent to so many people; `delivery`: what was frozen of it."""
    async with exports.database.writing(company.id) as session:
        row = {"user_id": company.admin, "type": "LETTER", "status": "SENDING", "name": "Letters"}
        made = insert(Campaign).values(company_id=company.id, message_content=content, **row)
        campaign_id = (await session.execute(made.returning(Campaign.id))).scalar_one()
        await session.execute(
            insert(CampaignDelivery).values(company_id=company.id, campaign_id=campaign_id, **delivery)
        )
    await exports.change(MANY_PEOPLE, company_id=company.id, people=people)
    await exports.change(MANY_RECIPIENTS, company_id=company.id, campaign_id=campaign_id)
    return Letters(exports, campaign_id, people)


def archived(archive: bytes) -> dict[str, bytes]:
    """The PDFs by their names, in their order; the archive is whole."""
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        assert found.testzip() is None
        return {name: found.read(name) for name in found.namelist()}


def text_of(pdf: bytes) -> str:
    """What stands on the pages, in lines; spaces that have no width are left out."""
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).replace("\u200b", "")


class Line(NamedTuple):
    """Text, and where it begins: millimetres from the left edge of the page, and of its base line from the top."""

    text: str
    x: float
    y: float


def lines_of(pdf: bytes, page: int = 0) -> list[Line]:
    """What stands on a page, from one change of style to the next."""
    found: list[Line] = []
    reader = PdfReader(io.BytesIO(pdf)).pages[page]
    height = float(reader.mediabox.height)

    def visit(text: str, matrix: list[float], at: list[float], _font: object, _size: object) -> None:
        if text.strip():
            x = at[4] * matrix[0] + at[5] * matrix[2] + matrix[4]
            y = at[4] * matrix[1] + at[5] * matrix[3] + matrix[5]
            found.append(Line(text.strip(), x / MILLIMETRE, (height - y) / MILLIMETRE))

    reader.extract_text(visitor_text=visit)
    return found


def setters(parent: int | None = None) -> list[psutil.Process]:
    """The processes below one (this one, unless said) that set letters."""
    return [each for each in psutil.Process(parent).children(recursive=True) if sets_letters(each)]


def sets_letters(process: psutil.Process) -> bool:
    try:
        return letter_process.__name__ in process.cmdline()
    except psutil.Error:
        return False

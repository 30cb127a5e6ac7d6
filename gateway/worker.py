"""How do the parts become one worker? What it does of each kind of job, and what it does beside them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import random

from gateway.return_paths import ReturnPaths
from gateway.settings import Settings
from gateway.unsubscribe import unsubscribe_links
from jobs.delivery.campaigns import CampaignSender
from jobs.delivery.mailing import MailMeans
from jobs.delivery.schedule import start_due, take_up_campaigns
from jobs.exports.attempt import ExportLimits, Means
from jobs.exports.exporter import Exporter
from jobs.exports.spool import Spool
from jobs.exports.sweep import sweep_files, sweep_spool, take_up
from jobs.housekeeping import sweep
from jobs.letters.writer import writing_letters
from jobs.notices import Notifier
from jobs.pacing import Breaker, Pacer
from jobs.smtp import SmtpTransport, mail_server
from jobs.test_mails import MailTester
from jobs.transport import NO_SERVER, OUTBOX, BulkTransport
from jobs.worker import Chore, Duty, Worker
from store.database import Database
from store.files import Files
from store.models import ExportKind, JobKind

# How often is looked for campaigns whose time has come, and for those that were left alone; in seconds.
DUE_EVERY = 1.0
LEFT_ALONE_EVERY = 10.0
# Mails of the demo a second, so that its campaigns can be watched.
DEMO_PACE = 5.0
# A job of each kind may hold some connections at a time.
CONNECTIONS_OF_A_JOB = 3


@dataclass(frozen=True)
class Surroundings:
    """What a worker has beside its settings: `spool` is the folder for what is being written, `secret` what links are
    signed with, `demo` whether its mails stay with it when there is no mail server.
    """

    files: Files
    spool: Path
    public_url: str
    secret: bytes = field(repr=False)
    now: Callable[[], datetime]
    demo: bool = False


def pool_size_of(settings: Settings) -> int:
    """How many connections to the database a worker needs."""
    return settings.worker_concurrency * CONNECTIONS_OF_A_JOB + 2


def transport_of(settings: Settings, *, demo: bool) -> BulkTransport:
    """Where mails go; the demo's stay with it unless a mail server is set."""
    if settings.smtp_url is not None:
        return SmtpTransport(mail_server(settings.smtp_url.get_secret_value()))
    return OUTBOX if demo else NO_SERVER


def limits_of(settings: Settings) -> ExportLimits:
    life = timedelta(days=settings.export_days)
    return ExportLimits(settings.export_max_rows, settings.export_bytes_per_company, life)


def mail_means(settings: Settings, around: Surroundings, transport: BulkTransport) -> MailMeans:
    """What campaigns by e-mail are sent with; the pace is that of this worker."""
    return MailMeans(
        transport=transport,
        connections=settings.mail_connections,
        pacer=Pacer(
            settings.mails_per_second or (DEMO_PACE if transport is OUTBOX else math.inf),
            settings.mails_per_domain_per_second or math.inf,
            clock=time.monotonic,
        ),
        breaker=Breaker(clock=time.monotonic, chance=random),
        deadline=timedelta(hours=settings.mail_deadline_hours),
        unsubscribe_link=unsubscribe_links(around.secret, around.public_url),
        return_path=ReturnPaths(around.secret),
        now=around.now,
        monotonic=time.monotonic,
        chance=random,
    )


def build_worker(settings: Settings, database: Database, around: Surroundings) -> Worker:
    """The worker of the settings."""
    files, spooled = around.files, Spool(around.spool)
    transport = transport_of(settings, demo=around.demo)
    writers = {ExportKind.LETTERS: writing_letters(settings.letter_processes)}
    exporter = Exporter(Means(database, files, limits_of(settings), time.monotonic, writers=writers), spooled)
    # Exports and campaigns take long: where there are three slots or more, one is left to what is done at once.
    for_campaigns = max(1, (settings.worker_concurrency - 1) // 2)
    for_exports = max(1, settings.worker_concurrency - 1 - for_campaigns)
    sender = CampaignSender(database, mail_means(settings, around, transport))
    duties = {
        JobKind.TEST_MAIL: Duty(MailTester(database, transport)),
        JobKind.NOTICE: Duty(Notifier(database, transport, around.public_url, around.now)),
        JobKind.EXPORT: Duty(exporter, at_once=True, per_company=settings.exports_per_company, slots=for_exports),
        JobKind.CAMPAIGN: Duty(sender, at_once=True, slots=for_campaigns, patient=True),
    }
    chores = (
        Chore(partial(start_due, database), DUE_EVERY),
        Chore(partial(take_up_campaigns, database), LEFT_ALONE_EVERY),
        Chore(partial(sweep, database)),
        Chore(partial(sweep_files, database, files)),
        Chore(partial(sweep_spool, database, files, spooled)),
        Chore(partial(take_up, database)),
    )
    return Worker(database, duties, concurrency=settings.worker_concurrency, chores=chores)

"""How do the parts become one worker? What it does of each kind of job, and what it tidies up."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from pathlib import Path

from gateway.settings import Settings
from jobs.exports.attempt import ExportLimits, Means
from jobs.exports.exporter import Exporter
from jobs.exports.spool import Spool
from jobs.exports.sweep import sweep_files, sweep_spool, take_up
from jobs.housekeeping import sweep
from jobs.smtp import SmtpTransport, mail_server
from jobs.test_mails import MailTester
from jobs.transport import NO_SERVER, OUTBOX, Transport
from jobs.worker import Duty, Worker
from store.database import Database
from store.files import Files
from store.models import JobKind


def transport_of(settings: Settings, *, demo: bool) -> Transport:
    """Where mails go; the demo's stay with it unless a mail server is set."""
    if settings.smtp_url is not None:
        return SmtpTransport(mail_server(settings.smtp_url.get_secret_value()))
    return OUTBOX if demo else NO_SERVER


def limits_of(settings: Settings) -> ExportLimits:
    life = timedelta(days=settings.export_days)
    return ExportLimits(settings.export_max_rows, settings.export_bytes_per_company, life)


def build_worker(settings: Settings, database: Database, files: Files, spool: Path, *, demo: bool = False) -> Worker:
    """The worker of the settings; `spool` is the folder for what is being written."""
    spooled = Spool(spool)
    exporter = Exporter(Means(database, files, limits_of(settings), time.monotonic), spooled)
    duties = {
        JobKind.TEST_MAIL: Duty(MailTester(database, transport_of(settings, demo=demo))),
        # An export may take minutes: one slot is left to what is done at once, where there are several.
        JobKind.EXPORT: Duty(
            exporter,
            at_once=True,
            per_company=settings.exports_per_company,
            slots=max(1, settings.worker_concurrency - 1),
        ),
    }
    chores = (
        partial(sweep, database),
        partial(sweep_files, database, files),
        partial(sweep_spool, database, files, spooled),
        partial(take_up, database),
    )
    return Worker(database, duties, concurrency=settings.worker_concurrency, chores=chores)

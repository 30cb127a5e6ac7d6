"""What can be done from a terminal? `campaign-gateway serve`, `worker`, `bounce`, and what `--help` lists."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import mimetypes
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

import uvloop
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy.exc import DBAPIError

from gateway.app import Deployment, build_app
from gateway.arguments import between, json_object, purpose
from gateway.auth import hashed, new_token
from gateway.bounces import MOST_MAIL_BYTES, heard_in_mail, read_mail, record_once
from gateway.demo import demo_tokens, read_tokens, welcome, write_tokens
from gateway.explaining import Faulty, Question, explainer_of, read_document
from gateway.files import files_of
from gateway.logging import configure_logging
from gateway.private_files import kept_secret
from gateway.problems import report
from gateway.processes import NotServing, connections_of, serve_in_processes
from gateway.return_paths import ReturnPaths
from gateway.server import allow_many_connections, pass_over_what_stands, server_of
from gateway.settings import MIN_SECRET_BYTES, Settings
from gateway.stopping import TERMINATED, stopping
from gateway.worker import Surroundings, build_worker, pool_size_of
from schema.build import build_schema
from store.checkup import examine
from store.database import Database, owner_transaction
from store.demo import AlreadySeeded, Size, is_seeded, seed
from store.embedded import EmbeddedServerError, default_data_directory, embedded_server
from store.files import Files, FilesUnavailable, Piece
from store.migrate import ensure_database, migrate, newest_revision
from store.models import TokenScope
from store.tokens import TokenRecord, UnknownUser, store_token

DATABASE_NAME = "campaigns"
DEMO_SEED = 1
SECRET_FILE = "download-secret"  # noqa: S105 - where one is kept, not what it is


class Refused(Exception):
    """The command cannot be carried out; the message is for the person who typed it."""


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def data_directory(settings: Settings) -> Path:
    default = default_data_directory(root=os.geteuid() == 0, home=Path.home())
    found = (settings.data_dir or default).expanduser().resolve()
    try:
        found.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"DATA_DIR {found} cannot be made: {error.strerror}.") from None
    return found


def files_directory(settings: Settings) -> Path:
    """Where files are kept unless FILES_URL says otherwise."""
    return data_directory(settings) / "files"


def spool_directory(settings: Settings) -> Path:
    """Where a worker keeps what it is writing."""
    return data_directory(settings) / "spool"


def download_secret(settings: Settings) -> bytes:
    """The secret of the settings, or the one that is kept beside the data."""
    if settings.download_secret is not None:
        return settings.download_secret.get_secret_value().encode()
    path = data_directory(settings) / SECRET_FILE
    try:
        secret = kept_secret(path, secrets.token_hex).encode()
    except OSError as error:
        raise Refused(f"{path} cannot be kept: {error.strerror}. Set DOWNLOAD_SECRET instead.") from None
    if len(secret) < MIN_SECRET_BYTES:
        raise Refused(f"{path} must hold at least {MIN_SECRET_BYTES} bytes; without the file a new secret is made.")
    return secret


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """The URL of the database that the settings name, or of the embedded one, which runs as long as this lasts."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    most = connections_of(settings)
    with embedded_server(data_directory(settings) / "postgres", max_connections=most, log=say) as server:
        asyncio.run(ensure_database(server.url("postgres"), DATABASE_NAME))
        yield server.url(DATABASE_NAME)


def serve(settings: Settings, arguments: argparse.Namespace) -> None:
    if arguments.demo:
        refuse_demo_elsewhere(settings)
    if arguments.processes is not None:
        settings = settings.model_copy(update={"server_processes": arguments.processes})
    with listening_socket(settings) as listener, database_url(settings) as url:
        asyncio.run(migrate(url))
        address = address_of(settings.host, listener.getsockname()[1])
        if arguments.demo:
            say(demo(settings, url, address))
        deployment = Deployment(
            database_url=url,
            public_url=settings.public_url or address,
            files=files_directory(settings),
            spool=spool_directory(settings),
            download_secret=download_secret(settings),
            demo=arguments.demo,
            worker=arguments.worker,
        )
        allow_many_connections()
        if settings.server_processes > 1:
            serve_in_several(settings, deployment, listener, address)
            return
        app = build_app(settings, deployment, now=lambda: datetime.now(UTC))
        say(f"Serving on {address}")
        pass_over_what_stands()
        server_of(app, settings).run(sockets=[listener])


def serve_in_several(settings: Settings, deployment: Deployment, listener: socket.socket, address: str) -> None:
    configure_logging(settings.log_level, process="parent")
    serving = serve_in_processes(settings, deployment, listener, ready=lambda: say(f"Serving on {address}"))
    if uvloop.run(serving) != signal.SIGINT:
        raise SystemExit(TERMINATED)


def refuse_demo_elsewhere(settings: Settings) -> None:
    """The demo prints tokens of administrators: never for other people's data, never where others can reach it."""
    if not is_loopback(settings.host):
        raise Refused("--demo prints tokens that let anyone in: it serves on a loopback address only.")
    if settings.database_url is not None:
        raise Refused("--demo runs on the embedded database: unset DATABASE_URL, or serve without --demo.")


@contextmanager
def listening_socket(settings: Settings) -> Iterator[socket.socket]:
    """Bound before anything else is started, so that a taken port is said at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it answers wait 40 ms for an ACK.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise Refused(f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}.") from None
        yield listener


def address_of(host: str, port: int) -> str:
    """The URL (RFC 3986, 3.2.2: an IPv6 address stands in brackets)."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def demo(settings: Settings, url: str, address: str) -> str:
    """Makes the demo data unless it is there; what to show for it."""
    directory = data_directory(settings)
    if not asyncio.run(is_seeded(url)):
        make_data(url, Size.SMALL, DEMO_SEED, files_of(settings, files_directory(settings)))
    path = directory / "demo-tokens.json"
    kept = read_tokens(path)
    tokens = asyncio.run(demo_tokens(url, kept, datetime.now(UTC)))
    if tokens != kept:
        write_tokens(path, tokens)
    return welcome(address, tokens, path)


def make_data(url: str, size: Size, seed_number: int, files: Files) -> None:
    async def write_file(key: str, content: bytes) -> None:
        name = key.rpartition("/")[2]
        content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            await files.put(key, [Piece(Path(file.name), len(content))], name=name, content_type=content_type)

    columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task("demo data", total=None)

        def progress(what: str, done: int, total: int) -> None:
            bars.update(bar, description=what, completed=done, total=total)

        now = datetime.now(UTC)
        asyncio.run(seed(url, size, seed=seed_number, now=now, write_file=write_file, progress=progress))


def run_worker(settings: Settings, arguments: argparse.Namespace) -> None:
    if arguments.concurrency is not None:
        settings = settings.model_copy(update={"worker_concurrency": arguments.concurrency})
    with database_url(settings) as url:
        stopped_by = uvloop.run(work(settings, url))
    if stopped_by != signal.SIGINT:
        raise SystemExit(TERMINATED)


async def work(settings: Settings, url: str) -> int:
    """Does jobs until a signal asks to stop; which one it was."""
    database = Database(url, pool_size=pool_size_of(settings), command_timeout=settings.statement_timeout)
    try:
        if await database.ping() != newest_revision():
            raise Refused("The database is not migrated: run `campaign-gateway migrate`.")
        around = Surroundings(
            files=files_of(settings, files_directory(settings)),
            spool=spool_directory(settings),
            public_url=settings.public_url or address_of(settings.host, settings.port),
            secret=download_secret(settings),
            now=lambda: datetime.now(UTC),
        )
        worker = build_worker(settings, database, around)
        with stopping(lambda _: worker.stop()) as received:
            await worker.run()
        return received[0]
    finally:
        await database.close()


def run_bounce(settings: Settings, arguments: argparse.Namespace) -> None:
    """Exit statuses are those of sysexits.h: what is not for the gateway is 0, so that no bounce is answered by one."""
    mail = read_mail(sys.stdin.buffer)
    if mail is None:
        say(f"The mail is longer than {MOST_MAIL_BYTES:,} bytes.")
        raise SystemExit(os.EX_DATAERR)
    if settings.download_secret is None and not (data_directory(settings) / SECRET_FILE).exists():
        raise Refused("Return paths cannot be read: set DOWNLOAD_SECRET, or the DATA_DIR that holds the secret.")
    heard = heard_in_mail(ReturnPaths(download_secret(settings)), mail, arguments.recipient)
    if heard is None:
        say("It says nothing of a message of this gateway.")
        return
    with database_url(settings) as url:
        is_news = asyncio.run(record_once(url, settings.statement_timeout, heard))
    say(f"{heard[1].kind}: {'recorded' if is_news else 'nothing new'}.")


def run_migrate(settings: Settings, _arguments: argparse.Namespace) -> None:
    with database_url(settings) as url:
        asyncio.run(migrate(url))
        say("The database is at the newest revision.")


def run_seed(settings: Settings, arguments: argparse.Namespace) -> None:
    with database_url(settings) as url:
        asyncio.run(migrate(url))
        make_data(url, Size(arguments.size), arguments.seed, files_of(settings, files_directory(settings)))


def run_token(settings: Settings, arguments: argparse.Namespace) -> None:
    token = new_token(secrets.token_hex)
    record = TokenRecord(
        token.id,
        hashed(token.secret),
        arguments.name,
        scopes_of(arguments.scopes),
        datetime.now(UTC) + timedelta(days=arguments.days),
    )

    async def keep(url: str) -> None:
        async with owner_transaction(url) as connection:
            await store_token(connection, arguments.user, record)

    with database_url(settings) as url:
        asyncio.run(keep(url))
    print(token)


def scopes_of(names: str) -> list[TokenScope]:
    try:
        return [TokenScope(name.strip().upper()) for name in names.split(",")]
    except ValueError:
        known = ", ".join(scope.lower() for scope in TokenScope)
        raise Refused(f"--scopes takes some of {known}, separated by commas.") from None


def run_schema(_settings: Settings, _arguments: argparse.Namespace) -> None:
    print(build_schema().as_str())


def run_doctor(settings: Settings, _arguments: argparse.Namespace) -> None:
    with database_url(settings) as url:
        findings = asyncio.run(examine(url))
    for finding in findings:
        print(finding)
    if not all(finding.good for finding in findings):
        raise Refused("Something is not as it should be.")


def run_explain(settings: Settings, arguments: argparse.Namespace) -> None:
    """Needs no database. A document that is faulty is answered as compilers do: places and messages, and status 2."""
    name = arguments.document
    try:
        question = Question(name, read_document(name), arguments.operation, arguments.variables)
        print(explainer_of(settings).explained(question))
    except Faulty as fault:
        say(str(fault))
        raise SystemExit(2) from None


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser("campaign-gateway", description="GraphQL over marketing campaigns.")
    commands = found.add_subparsers(required=True, metavar="command")

    def command(
        name: str, run: Callable[[Settings, argparse.Namespace], None], help: str, failure: int = 1
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help)
        made.set_defaults(run=run, failure=failure)
        return made

    serving = command("serve", serve, "Migrate, then serve GraphQL and GraphiQL.")
    serving.add_argument("--demo", action="store_true", help="make demo data and tokens; loopback only")
    serving.add_argument(
        "--workers",
        dest="processes",
        metavar="N",
        type=between(1, 64),
        help="processes that serve; default: SERVER_PROCESSES",
    )
    serving.add_argument("--no-worker", action="store_false", dest="worker", help="leave the jobs to `worker`")
    working = command("worker", run_worker, "Do the jobs that requests leave: write exports, send test mails, tidy up.")
    working.add_argument("--concurrency", type=between(1, 100), help="jobs at a time; default: WORKER_CONCURRENCY")
    bounce = command(
        "bounce", run_bounce, "Read a mail that came to a return path from standard input.", failure=os.EX_TEMPFAIL
    )
    bounce.add_argument("--recipient", help="whom the mail came for; default: as its headers say")
    command("migrate", run_migrate, "Bring the database to the newest revision.")
    seeding = command("seed", run_seed, "Fill an empty database with demo data.")
    seeding.add_argument("--size", choices=[size.value for size in Size], default=Size.SMALL.value)
    seeding.add_argument("--seed", type=int, default=DEMO_SEED, help="the same number makes the same data")
    token = command("token", run_token, "Make a personal access token for a user and print it once.")
    token.add_argument("--user", type=between(1, 2**31 - 1), required=True, help="the user's databaseId")
    token.add_argument("--name", type=purpose, default="Command line", help="what the token is for")
    token.add_argument("--scopes", default="read", help="read,write,send,export")
    token.add_argument("--days", type=between(1, 3650), default=90, help="how long it lives")
    command("schema", run_schema, "Print the schema in GraphQL's definition language.")
    explaining = command("explain", run_explain, "Show how an operation is run: its function, its SQL, its cost.")
    explaining.add_argument("document", metavar="FILE", help="the document; - is standard input")
    explaining.add_argument("--operation", metavar="NAME", help="which one, where the document has several")
    explaining.add_argument("--variables", metavar="JSON", type=json_object, default={}, help="the values of variables")
    command("doctor", run_doctor, "Check what the gateway needs and say what is missing.")
    return found


def terminate(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM, or a terminal that goes away, leaves by an exception, so that all that was started is stopped."""
    raise SystemExit(TERMINATED)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 done, also by Ctrl-C; 1 refused (`bounce`: 75, try again), the reason on standard error; 143
    by SIGTERM.
    """
    given = parser().parse_args(arguments)
    failure: int = given.failure
    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGHUP, terminate)
    try:
        settings = Settings()
        configure_logging(settings.log_level)
        given.run(settings, given)
    except ValidationError as error:
        for problem in error.errors():
            say(f"{'_'.join(map(str, problem['loc'])).upper() or 'Settings'}: {problem['msg']}")
        return failure
    except BrokenPipeError:
        # Whoever read the output has enough of it (`… | head`); nothing more can be said on it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return failure
    except (DBAPIError, OSError) as error:
        report(error, "command")
        say("The database cannot be reached, or refuses: is DATABASE_URL right, and may its user do that?")
        return failure
    except (Refused, NotServing, EmbeddedServerError, AlreadySeeded, UnknownUser, FilesUnavailable) as error:
        say(str(error))
        return failure
    except KeyboardInterrupt:
        # The usual way to end `serve`.
        return 0
    return 0

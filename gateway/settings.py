"""What may be set from outside? Every environment variable of the gateway, in one frozen object."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.file_places import file_place
from jobs.smtp import mail_server

MIN_SECRET_BYTES = 32
# No user, no path, no query: what follows is the bucket and the key.
ENDPOINT = r"^https?://[A-Za-z0-9.:\[\]_-]*[A-Za-z0-9\]]$"
POSTGRESQL_SCHEMES = ("postgresql+asyncpg", "postgresql", "postgres")


class Settings(BaseSettings):
    """Read from the environment, where the names stand in capitals; README.md lists them for operators."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: SecretStr | None = Field(
        None,
        description="The PostgreSQL to use, as postgresql://user:password@host/database; its user owns the"
        " tables. Without it the gateway starts an embedded PostgreSQL under DATA_DIR.",
    )
    data_dir: Path | None = Field(
        None,
        description="Where the embedded database, the files, the demo tokens and the secret of links are kept. Default:"
        " /var/lib/campaign-gateway for root, ~/.campaign-gateway for others.",
    )
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[!$-+.-;=@-~-]*[!$-+.0-;=@-~-]$",
        description="The URL that clients reach the gateway by, without a slash at its end; links to files,"
        " previews and unsubscribing begin with it. Default: http://HOST:PORT.",
    )
    server_processes: int = Field(
        1,
        ge=1,
        le=64,
        description="How many processes serve requests; each has its own DATABASE_POOL_SIZE connections.",
    )
    database_pool_size: int = Field(
        10,
        ge=1,
        le=500,
        description="How many connections serve changes at a time, and as many readings; beside them a process holds"
        " one to listen, and a worker two more for each export.",
    )
    statement_timeout: float = Field(30, gt=0, le=3600, description="Seconds after which a statement is given up.")
    max_body_bytes: int = Field(
        1_000_000, ge=1_000, description="The largest request that is read; a larger one is answered 413."
    )
    max_query_tokens: int = Field(5_000, ge=100, description="The longest document, in tokens of GraphQL's grammar.")
    max_query_depth: int = Field(15, ge=1, description="The deepest nesting of fields.")
    max_query_aliases: int = Field(100, ge=0, description="The most aliases in one operation.")
    max_query_fields: int = Field(2_000, ge=1, description="The most fields in one operation.")
    compiled_queries: bool = Field(
        True, description="Whether queries are run by functions that are made of them; without, graphql-core runs them."
    )
    max_query_cost: int = Field(
        50_000, ge=1, description="The highest cost of one operation: every field counts 1, lists multiply."
    )
    max_subscriptions: int = Field(
        10, ge=1, le=1_000, description="The most operations that one WebSocket may have under way."
    )
    allowed_origins: str | None = Field(
        None,
        pattern=r"^https?://[^\s/,]+(\s*,\s*https?://[^\s/,]+)*$",
        description="Whose pages may open WebSockets besides the gateway's own, as https://app.example, separated by"
        " commas.",
    )
    jwt_algorithm: Literal["HS256", "RS256"] = Field(
        "HS256", description="How JSON web tokens are signed; no other way is accepted."
    )
    jwt_key: SecretStr | None = Field(
        None,
        description="The shared secret (HS256, 32 bytes or more) or the public key in PEM (RS256). Without it no JSON"
        " web token is accepted.",
    )
    jwt_issuer: str = Field("campaign-gateway", description="The `iss` that a JSON web token must have.")
    jwt_audience: str = Field("campaign-gateway", description="The `aud` that a JSON web token must have.")
    download_secret: SecretStr | None = Field(
        None,
        description="What links to files, previews and unsubscribing, and the return paths of mails are signed with, 32"
        " bytes or more; the same for all processes. Without it one is made and kept in DATA_DIR.",
    )
    download_seconds: int = Field(300, ge=1, le=604_800, description="How many seconds a link to a file is good for.")
    files_url: str | None = Field(
        None,
        description="Where the files of exports are kept: file:///folder, or s3://bucket/prefix in an S3-compatible"
        " store; the same for all processes. Default: the folder files in DATA_DIR.",
    )
    s3_endpoint: str | None = Field(
        None,
        pattern=ENDPOINT,
        description="The URL of the S3-compatible store as the gateway reaches it; the bucket follows as the first step"
        " of the path. Default: Amazon's in S3_REGION.",
    )
    s3_public_endpoint: str | None = Field(
        None,
        pattern=ENDPOINT,
        description="The URL of the same store as clients reach it; links to files begin with it. Default:"
        " S3_ENDPOINT.",
    )
    s3_region: str = Field(
        "us-east-1", pattern=r"^[a-z0-9-]{1,63}$", description="The region that requests to the store are signed for."
    )
    s3_access_key_id: str | None = Field(
        None, pattern=r"^[!-~]+$", description="Who the gateway is to the store; needed with s3://."
    )
    s3_secret_access_key: SecretStr | None = Field(
        None, description="The secret that goes with S3_ACCESS_KEY_ID; it signs links to files, too."
    )
    campaign_domain_suffix: str = Field(
        "campaigns.example",
        pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$",
        description="The domain under which companies without one of their own get a subdomain to send from, by their"
        " slug.",
    )
    test_mails_per_hour: int = Field(
        60, ge=1, le=10_000, description="How many test mails one user may ask for within an hour."
    )
    exports_waiting_per_company: int = Field(
        100, ge=1, le=1_000_000, description="How many exports of one company may wait or run at a time."
    )
    export_bytes_per_company: int = Field(
        10 * 2**30,
        ge=0,
        description="How many bytes the files of one company's exports may have together; no export is taken on beyond"
        " that.",
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="The mail server, as smtp://user:password@host:port (encrypted if it offers STARTTLS), smtps://…"
        " (TLS) or smtp+starttls://… (STARTTLS or nothing). Without it mails fail, and those of the demo stay in its"
        " database.",
    )
    mail_connections: int = Field(
        10, ge=1, le=100, description="How many connections to the mail server a worker sends one campaign over."
    )
    mails_per_second: float = Field(
        0,
        ge=0,
        le=1_000_000,
        description="How many mails of campaigns a worker sends in a second; 0: as many as it can.",
    )
    mails_per_domain_per_second: float = Field(
        0, ge=0, le=1_000_000, description="The same, to the addresses of one domain."
    )
    mail_deadline_hours: float = Field(
        48,
        gt=0,
        le=720,
        description="For how many hours after the start of a campaign its mails are tried again that were put off.",
    )
    letter_processes: int = Field(
        2, ge=1, le=64, description="How many processes of a worker set the letters of one campaign."
    )
    bounce_webhook_secret: SecretStr | None = Field(
        None,
        description="What requests to /webhooks/bounces are signed with, 32 bytes or more. Without it there is no such"
        " path.",
    )
    exports_per_company: int = Field(
        2, ge=1, le=100, description="How many exports of one company are written at a time; the others wait."
    )
    export_max_rows: int = Field(5_000_000, ge=1, description="The most rows that an export may have.")
    export_days: float = Field(7, gt=0, le=3650, description="After how many days the file of an export is deleted.")
    worker_concurrency: int = Field(4, ge=1, le=100, description="How many jobs a worker does at a time.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="The least serious log line that is written."
    )

    @property
    def origins(self) -> list[str]:
        return (self.allowed_origins or "").replace(",", " ").split()

    @field_validator("download_secret", "bounce_webhook_secret")
    @classmethod
    def secret_is_long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value().encode()) < MIN_SECRET_BYTES:
            raise ValueError(f"must have at least {MIN_SECRET_BYTES} bytes")
        return secret

    @field_validator("database_url")
    @classmethod
    def names_the_driver(cls, url: SecretStr | None) -> SecretStr | None:
        """The usual spellings of a PostgreSQL URL, with the one driver that is used here."""
        if url is None:
            return None
        scheme, separator, rest = url.get_secret_value().partition("://")
        if not separator or scheme not in POSTGRESQL_SCHEMES:
            raise ValueError("must be a URL that begins with postgresql://")
        return SecretStr(f"postgresql+asyncpg://{rest}")

    @field_validator("smtp_url")
    @classmethod
    def is_a_mail_server(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            mail_server(url.get_secret_value())
        return url

    @field_validator("files_url")
    @classmethod
    def is_a_place_for_files(cls, url: str | None) -> str | None:
        if url is not None:
            file_place(url)
        return url

    @model_validator(mode="after")
    def bucket_has_keys(self) -> Settings:
        keys = self.s3_access_key_id, self.s3_secret_access_key
        if self.files_url is not None and self.files_url.startswith("s3://") and None in keys:
            raise ValueError("S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY are needed for FILES_URL with s3://")
        return self

    @model_validator(mode="after")
    def key_suits_the_algorithm(self) -> Settings:
        key = b"" if self.jwt_key is None else self.jwt_key.get_secret_value().encode()
        if key and self.jwt_algorithm == "HS256" and len(key) < MIN_SECRET_BYTES:
            raise ValueError(f"JWT_KEY must have at least {MIN_SECRET_BYTES} bytes for HS256")
        if key and self.jwt_algorithm == "RS256":
            try:
                load_pem_public_key(key)
            except ValueError:
                raise ValueError("JWT_KEY must be a public key in PEM for RS256") from None
        return self

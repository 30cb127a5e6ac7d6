"""What is every resolver given? Who asks, what may be read, and the loaders of this one operation."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from uuid import UUID

from resolvers.loaders import Loaders
from store.database import Reader
from store.identity import Identity
from store.models import TokenScope


@dataclass(frozen=True)
class Viewer:
    """The signed-in user, as just read from the database, and what their token lets them do."""

    identity: Identity
    token_scopes: frozenset[TokenScope]

    @property
    def company_id(self) -> int:
        return self.identity.scope.company_id

    @property
    def user_id(self) -> int:
        return self.identity.scope.user_id


@dataclass(frozen=True)
class StoredFile:
    """What a link to a file is made of; the file is gone after `expires_at`."""

    company_id: int
    id: UUID
    name: str
    expires_at: datetime


@dataclass(frozen=True)
class DownloadLink:
    """An absolute URL that gives a file to whoever has it, until `expires_at`."""

    url: str
    expires_at: datetime


MintLink = Callable[[StoredFile], DownloadLink]


@dataclass
class Context:
    """One operation's; `selections` keeps what the operation's fields select, by the fields' nodes."""

    viewer: Viewer
    reader: Reader
    request_id: str
    mint_link: MintLink
    selections: dict[Hashable, object] = field(default_factory=dict)

    @cached_property
    def load(self) -> Loaders:
        return Loaders(self.reader)

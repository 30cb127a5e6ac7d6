"""How is a text that people search for compared with a column?"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, ColumnElement, func
from sqlalchemy.orm import InstrumentedAttribute

from resolvers.errors import ClientError, ErrorCode

MAX_SEARCH_LENGTH = 200


def containing(column: InstrumentedAttribute[str], words: BindParameter[Any]) -> ColumnElement[bool]:
    """The column, which the database keeps in small letters, contains the text, made small by the same rules."""
    return column.like(func.lower(words), escape="\\")


def like_pattern(words: object) -> str:
    """The pattern of a text that may stand anywhere; its `%`, `_` and `\\` are plain characters."""
    text = str(words).strip()
    if len(text) > MAX_SEARCH_LENGTH:
        raise ClientError(ErrorCode.BAD_USER_INPUT, f"`search` takes at most {MAX_SEARCH_LENGTH} characters.")
    if "\x00" in text:
        raise ClientError(ErrorCode.BAD_USER_INPUT, "`search` holds a character that no text here can hold.")
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"

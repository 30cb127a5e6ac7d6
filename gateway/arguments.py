"""Which values may an argument of a command have? The types that `argparse` reads them by."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

import orjson

LONGEST_NAME = 255


def between(least: int, most: int) -> Callable[[str], int]:
    """A whole number within bounds."""

    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ArgumentTypeError(f"{value} is not between {least} and {most}")
        return value

    return number


def purpose(text: str) -> str:
    if len(text) > LONGEST_NAME:
        raise ArgumentTypeError(f"at most {LONGEST_NAME} characters")
    return text


def json_object(text: str) -> dict[str, object]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ArgumentTypeError("not a JSON object")
    return value

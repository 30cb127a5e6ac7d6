"""Which CSS may a mail hold? Known properties with plain values: nothing that fetches, runs, or leaves its place."""

from __future__ import annotations

import re
from collections.abc import Iterator

SIDES = ("top", "right", "bottom", "left")
PROPERTIES = frozenset(
    (
        *("background", "background-color", "color", "opacity", "box-sizing", "box-shadow", "direction", "display"),
        *("font", "font-family", "font-size", "font-stretch", "font-style", "font-variant", "font-weight"),
        *("letter-spacing", "line-height", "word-spacing", "white-space", "word-break", "word-wrap", "overflow-wrap"),
        *("text-align", "text-decoration", "text-indent", "text-overflow", "text-shadow", "text-transform"),
        *("width", "min-width", "max-width", "height", "min-height", "max-height", "overflow", "hyphens"),
        *("float", "clear", "vertical-align", "table-layout", "caption-side", "empty-cells", "visibility"),
        *("list-style", "list-style-position", "list-style-type", "outline"),
        *("margin", "padding", *(f"{box}-{side}" for box in ("margin", "padding") for side in SIDES)),
        *("border", "border-collapse", "border-spacing", "border-radius", "border-color", "border-style"),
        *("border-width", *(f"border-{side}" for side in SIDES)),
        *(f"border-{side}-{part}" for side in SIDES for part in ("color", "style", "width")),
        *(f"border-{side}-{corner}-radius" for side in ("top", "bottom") for corner in ("left", "right")),
        *("mso-line-height-rule", "mso-table-lspace", "mso-table-rspace", "-ms-text-size-adjust"),
        *("-webkit-text-size-adjust", "-ms-interpolation-mode"),
    )
)
FUNCTIONS = frozenset(("rgb", "rgba", "hsl", "hsla", "calc"))
# No colon, backslash, at sign or bracket, hence no scheme, no escape, and nothing that ends the declaration.
PLAIN_VALUE = re.compile(r"[\w \t\n%#.,!+*/'\"()-]+")
FUNCTION = re.compile(r"(?<![\w-])([\w-]*+)\(")
BRACE = re.compile(r"[{}]")
LONGEST_SELECTOR = 500


def safe_declarations(style: str) -> str:
    """What may stay of the value of a `style` attribute or of a rule's body: the last of each property, `a:b;c:d`."""
    kept: dict[str, str] = {}
    for declaration in style.split(";"):
        name, colon, value = declaration.partition(":")
        name, value = name.strip().lower(), value.strip()
        if colon and name in PROPERTIES and is_plain(value):
            kept[name] = value
    return ";".join(f"{name}:{value}" for name, value in kept.items())


def is_plain(value: str) -> bool:
    return PLAIN_VALUE.fullmatch(value) is not None and FUNCTIONS.issuperset(
        name.lower() for name in FUNCTION.findall(value)
    )


def safe_sheet(sheet: str) -> str:
    """What may stay of a sheet: safe declarations of rules outside at-rules (no attribute can say `@media`)."""
    return "".join(
        f"{selector}{{{declarations}}}"
        for selector, body in rules(without_comments(sheet))
        if 0 < len(selector) <= LONGEST_SELECTOR and (declarations := safe_declarations(body))
    )


def without_comments(sheet: str) -> str:
    """Without `/* */` and without the comment marks of HTML, which CSS skips."""
    kept: list[str] = []
    position = 0
    while (start := sheet.find("/*", position)) >= 0:
        kept.append(sheet[position:start])
        end = sheet.find("*/", start + 2)
        if end < 0:
            break
        position = end + 2
    else:
        kept.append(sheet[position:])
    return " ".join(kept).replace("<!--", " ").replace("-->", " ").replace("<", "")


def rules(sheet: str) -> Iterator[tuple[str, str]]:
    """Selector and body of every block that holds no block and is in none."""
    depth = 0
    position = 0
    selector = ""
    for brace in BRACE.finditer(sheet):
        between, position = sheet[position : brace.start()], brace.end()
        if brace[0] == "{":
            depth += 1
            selector = between.rpartition(";")[2].strip() if depth == 1 else ""
        else:
            depth = max(depth - 1, 0)
            if depth == 0 and selector and not selector.startswith("@"):
                yield selector, between
            selector = ""

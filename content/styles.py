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
# What can ask for nothing: types and widths of screens, colour schemes.
MEDIA = re.compile(r"@media\b[\w \t\n:(),.-]{1,200}", re.IGNORECASE)
SELECTORS = re.compile(r"[\w \t\n.#>,-]+")
LONGEST_MEDIA_SHEET = 50_000


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
    """What may stay of a sheet to be inlined: safe declarations of rules outside at-rules."""
    return "".join(
        f"{selector}{{{declarations}}}"
        for around, selector, body in rules(without_comments(sheet))
        if not around and len(selector) <= LONGEST_SELECTOR and (declarations := safe_declarations(body))
    )


def media_sheet(sheet: str) -> str:
    """What may stay of a sheet's `@media`, which no attribute can say; at most 50,000 characters, else nothing.

    Rules for what has a class, with safe declarations that cannot run into what follows them.
    """
    kept: list[str] = []
    for around, selector, body in rules(without_comments(sheet)):
        if MEDIA.fullmatch(around) and len(selector) <= LONGEST_SELECTOR and has_classes(selector):
            declarations = ";".join(each for each in safe_declarations(body).split(";") if is_closed(each))
            if declarations:
                kept.append(f"{around}{{{selector}{{{declarations}}}}}\n")
    return "".join(kept) if sum(map(len, kept)) <= LONGEST_MEDIA_SHEET else ""


def has_classes(selectors: str) -> bool:
    """Whether each of the selectors is plain and ends at something with a class: not at just any link or paragraph."""
    return SELECTORS.fullmatch(selectors) is not None and all(
        "." in (selector.split() or [""])[-1] for selector in selectors.split(",")
    )


def is_closed(declaration: str) -> bool:
    return declaration.count("(") == declaration.count(")") and not {"'", '"'} & set(declaration)


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


def rules(sheet: str) -> Iterator[tuple[str, str, str]]:
    """What stands around it, selector and body of every rule that is in one block at the most."""
    open_blocks: list[str] = []
    position = 0
    selector = ""
    for brace in BRACE.finditer(sheet):
        between, position = sheet[position : brace.start()], brace.end()
        if brace[0] == "{":
            selector = between.rpartition(";")[2].strip()
            open_blocks.append(selector)
        elif open_blocks:
            open_blocks.pop()
            if len(open_blocks) < 2 and selector and not selector.startswith("@"):
                yield "".join(open_blocks), selector, between
            selector = ""

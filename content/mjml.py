"""Which HTML does a message written in MJML (mjml.io) stand for?

A pass of our own writes the source anew, well nested and of listed elements only, before MRML sees it: MRML is a
compiled program that runs out of stack on deep sources, which would end the process, and it takes no HTML that is not
in order. What it makes is as untrusted as any HTML and is cleaned like it (`content.html`).
"""

from __future__ import annotations

import re

import mjml

from content.html import UNDISGUISED, UNWANTED, Writer
from content.places import PLACEHOLDER, placeholder
from content.scanner import EndTag, StartTag, Text, Token, tokens

CONTENTS = ("accordion", "button", "divider", "image", "navbar", "raw", "social", "spacer", "table", "text")
# Which elements stand in which: of MJML 4 what MRML takes. None can be in one of its own kind: nine deep at the most.
CHILDREN: dict[str, frozenset[str]] = {
    parent: frozenset(f"mj-{name}" for name in names)
    for parent, names in (
        ("mjml", ("head", "body")),
        ("mj-head", ("attributes", "breakpoint", "font", "preview", "raw", "style", "title")),
        ("mj-body", ("hero", "raw", "section", "wrapper")),
        ("mj-wrapper", ("hero", "raw", "section")),
        ("mj-section", ("column", "group", "raw")),
        ("mj-group", ("column", "raw")),
        ("mj-column", CONTENTS),
        ("mj-hero", CONTENTS),
        ("mj-accordion", ("accordion-element",)),
        ("mj-accordion-element", ("accordion-text", "accordion-title")),
        ("mj-navbar", ("navbar-link",)),
        ("mj-social", ("social-element",)),
    )
}
HOLD_HTML = frozenset(
    f"mj-{name}"
    for name in ("accordion-text", "accordion-title", "button", "navbar-link", "raw", "social-element", "table", "text")
)
HOLD_TEXT = frozenset(("mj-preview", "mj-style"))
# They would fetch a font, or name a page that a mail is not.
SKIPPED = frozenset(("mj-font", "mj-title"))
# Whose attributes, if any, MRML does not read.
PLAIN = HOLD_TEXT | SKIPPED | {"mj-attributes", "mj-head", "mj-raw"}
ELEMENTS = frozenset(CHILDREN).union(*CHILDREN.values())
CHILDREN["mj-attributes"] = ELEMENTS - CHILDREN["mjml"] - CHILDREN["mj-head"] | {"mj-all", "mj-class", "mj-raw"}
REFUSED = {
    "mj-include": "A message has no files to include: write out what is to be included",
    "mj-carousel": "Mails hold nothing that is clicked through: use images",
    "mj-html-attributes": "Attributes of HTML are written at the elements themselves",
}
ATTRIBUTE_NAME = re.compile(r"[a-z][a-z0-9-]*")
# MRML writes some characters in attributes as Rust would in a program, such as `\\u{a0}`: private use, marks, breaks.
# Those that may be are spelled, and fields travel as `{{number}}`, which nothing else can be mistaken for then.
ALTERED = re.compile(r"[^\w !-\[\]-z|}~]|[\u115f\u1160\u3164\uff9e-\uffa0]")
TRAVELLING = re.compile(r"\{\{([0-9]{1,6})\}\}")
POSITION = re.compile(r" in (?:element in )?root template.*", re.DOTALL)
BLANK = "\ufeff\t\n\f\r "
# Their attributes are repeated at the elements in them, as are those of `mj-attributes` at all.
HAND_DOWN = frozenset(("mj-accordion", "mj-accordion-element", "mj-navbar", "mj-social"))
# Bounds of what is made: characters that are repeated times elements, elements, characters.
REPETITION_BUDGET = 10_000_000
MOST_MJML_ELEMENTS = 2_000
LONGEST_HTML = 2_000_000


class BrokenMjml(ValueError):
    """The source cannot be read as MJML; the message is for its author."""


def is_mjml(source: str) -> bool:
    """Whether the first that stands there is the element `mjml`."""
    for token in tokens(source):
        if not isinstance(token, Text) or token.content.strip(BLANK):
            return isinstance(token, StartTag) and token.name == "mjml"
    return False


def html_of(source: str) -> str:
    """The HTML document that an MJML source stands for, at most 2,000,000 characters. Raises `BrokenMjml`.

    Nothing is fetched or included. Comments are left out, what is in the head of HTML is as MRML makes it.
    """
    writer = MjmlWriter(UNWANTED.sub("", source))
    in_order = writer.written()
    try:
        document = mjml.mjml2html(in_order, disable_comments=True, fonts={})
    except ValueError as error:
        raise BrokenMjml(f"This is no MJML: {POSITION.sub('', str(error))}.") from error
    if len(document) > LONGEST_HTML:
        raise BrokenMjml("This MJML makes too long a message.")
    sheets = "".join(f"<style>{sheet}</style>" for sheet in writer.sheets)
    return TRAVELLING.sub(lambda match: placeholder(int(match[1])), document) + sheets


class MjmlWriter:
    """Writes a source anew so that MRML can read it; raises `BrokenMjml` where it is not what MJML allows."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.output: list[str] = []
        self.open: list[str] = []
        # Within an element that holds HTML: what of it is kept so far.
        self.html: Writer | None = None
        self.sheets: list[str] = []
        self.elements = 0
        self.repeated = 0
        self.ended = False

    def written(self) -> str:
        for token in tokens(self.source):
            self.take(token)
        if self.open:
            raise BrokenMjml(f"<{self.open[-1]}> is not closed.")
        if self.elements > MOST_MJML_ELEMENTS or self.elements * self.repeated > REPETITION_BUDGET:
            raise BrokenMjml("This MJML has too many elements, or too long attributes.")
        return "".join(self.output)

    def take(self, token: Token) -> None:
        match token:
            case StartTag() if self.html is None or is_of_mjml(token.name):
                self.start(token)
            case EndTag() if self.html is None or is_of_mjml(token.name):
                self.end(token)
            case Text() if self.html is None:
                self.text(token)
            case _ if self.html is not None:
                self.html.take(token)

    def start(self, tag: StartTag) -> None:
        parent = self.open[-1] if self.open else ""
        if tag.name in REFUSED:
            raise self.broken(tag.position, f"{REFUSED[tag.name]} (<{tag.name}>)")
        if tag.name not in CHILDREN.get(parent, frozenset()) and (tag.name, parent, self.ended) != ("mjml", "", False):
            where = f"in <{parent}>" if parent else "there"
            raise self.broken(tag.position, f"<{shown(tag.name)}> cannot stand {where}")
        self.elements += 1
        attributes = {} if tag.name in PLAIN else self.attributes(tag)
        if tag.name == "mj-class" and "name" not in attributes:
            raise self.broken(tag.position, "<mj-class> has no name")
        written = "".join(f' {name}="{value}"' for name, value in attributes.items())
        if tag.name in HAND_DOWN or "mj-attributes" in self.open:
            self.repeated += len(written)
        self.put(f"<{tag.name}{written}>", tag.name)
        self.open.append(tag.name)
        if tag.source.endswith("/>"):
            self.close()
        elif tag.name in HOLD_HTML and "mj-attributes" not in self.open:
            self.html = Writer()

    def end(self, tag: EndTag) -> None:
        if not self.open or self.open[-1] != tag.name:
            unclosed = f": <{self.open[-1]}> is open" if self.open else ""
            raise self.broken(tag.position, f"</{shown(tag.name)}> ends nothing{unclosed}")
        self.close()

    def close(self) -> None:
        if self.html is not None:
            self.html.close_down_to(0)
            fragment = "".join(self.html.output).translate(UNDISGUISED)
            if self.open[-1] == "mj-accordion-title":
                # MRML takes no elements in it.
                fragment = "".join(token.content for token in tokens(fragment) if isinstance(token, Text))
            # In XML this would be the end of what never began.
            self.output.append(unaltered(fragment.replace("]]>", "]]&gt;")))
            self.sheets += self.html.sheets
            self.html = None
        name = self.open.pop()
        self.put(f"</{name}>", name)
        self.ended = not self.open

    def put(self, tag: str, name: str) -> None:
        if name not in SKIPPED:
            self.output.append(tag)

    def text(self, text: Text) -> None:
        parent = self.open[-1] if self.open else ""
        if parent in HOLD_TEXT:
            is_sheet = parent == "mj-style"
            sheet = text.content.replace("<", "").replace("]]>", "]] >")
            self.output.append(sheet if is_sheet else unaltered(as_text(text.content)))
        elif parent not in SKIPPED and text.content.strip(BLANK):
            raise self.broken(text.position, "text and merge fields stand in elements such as <mj-text>")

    def attributes(self, tag: StartTag) -> dict[str, str]:
        found: dict[str, str] = {}
        for attribute in tag.attributes:
            if ":" in attribute.name:
                continue  # of a namespace of XML
            if not ATTRIBUTE_NAME.fullmatch(attribute.name):
                raise self.broken(tag.position, f"<{tag.name}> has an attribute that cannot be read")
            if tag.name != "mj-breakpoint" or attribute.name == "width":
                found.setdefault(attribute.name, unaltered(as_text(attribute.value)))
        return found

    def broken(self, position: int, reason: str) -> BrokenMjml:
        line = self.source.count("\n", 0, position) + 1
        return BrokenMjml(f"Line {line}: {reason}.")


def is_of_mjml(name: str) -> bool:
    return name == "mjml" or name.startswith("mj-")


def as_text(written: str) -> str:
    """As written, entities and all, but for what would end a value or a text."""
    return written.replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def unaltered(html: str) -> str:
    """HTML that comes out of MRML as it goes in, but for the fields: see `TRAVELLING`."""
    pieces = PLACEHOLDER.split(html)
    pieces[::2] = [ALTERED.sub(lambda match: f"&#{ord(match[0])};", piece) for piece in pieces[::2]]
    pieces[1::2] = [f"{{{{{number}}}}}" for number in pieces[1::2]]
    return "".join(pieces)


def shown(name: str) -> str:
    return name if len(name) <= 40 else name[:40] + "…"

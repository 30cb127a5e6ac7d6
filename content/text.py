"""How does mail HTML read as plain text? Blocks become lines, links are followed by their address."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from content.html import BLOCKS, VOID
from content.scanner import EndTag, StartTag, Text, tokens

# Not `\s`: a no-break space stays.
SPACES = re.compile(r"[\t\n\f\r ]+")
HIDDEN = re.compile(r"(?:^|;)display:none\b")
PARAGRAPHS = frozenset(("blockquote", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"))
LINES = BLOCKS | {"caption", "tr"}


def plain_text_of(fragment: str, shown: Callable[[str], str] = str) -> str:
    """The text of a fragment that `cleaned` gave. Time and length are linear: columns of tables are not lined up.

    A link whose label and address are `shown` as the same is written once. What is not displayed is left out.
    """
    writer = TextWriter(shown)
    # How many elements are open within the one that is not displayed, itself included.
    hidden = 0
    for token in tokens(fragment):
        match token:
            case StartTag() if hidden or is_hidden(token):
                hidden += token.name not in VOID
            case EndTag() if hidden:
                hidden -= 1
            case _ if hidden:
                continue
            case Text():
                writer.text(html.unescape(token.content))
            case StartTag():
                writer.start(token)
            case EndTag():
                writer.end(token.name)
    return "".join(writer.output)


def is_hidden(tag: StartTag) -> bool:
    return any(each.name == "style" and HIDDEN.search(each.value) for each in tag.attributes)


class TextWriter:
    """Writes text and keeps what separates it from the text that follows, if any does."""

    def __init__(self, shown: Callable[[str], str]) -> None:
        self.shown = shown
        self.output: list[str] = []
        self.space = False
        self.newlines = 0
        self.lists: list[int | None] = []
        self.link: tuple[str, int] | None = None

    def text(self, text: str) -> None:
        collapsed = SPACES.sub(" ", text)
        words = collapsed.strip(" ")
        self.space = self.space or collapsed.startswith(" ")
        if words:
            self.put(words)
            self.space = collapsed.endswith(" ")

    def put(self, words: str) -> None:
        if self.output:
            self.output.append("\n" * self.newlines or (" " if self.space else ""))
        self.output.append(words)
        self.space, self.newlines = False, 0

    def part(self, name: str) -> None:
        """Text before and after goes on lines of its own."""
        if name in LINES:
            self.newlines = max(self.newlines, 2 if name in PARAGRAPHS and not self.lists else 1)

    def start(self, tag: StartTag) -> None:
        self.part(tag.name)
        values = {attribute.name: html.unescape(attribute.value) for attribute in tag.attributes}
        match tag.name:
            case "br":
                self.newlines = min(self.newlines + 1, 2)
            case "hr":
                self.put("-" * 20)
                self.newlines = 1
            case "img":
                self.text(values.get("alt", ""))
            case "td" | "th":
                self.space = True
            case "ul":
                self.lists.append(None)
            case "ol":
                self.lists.append(0)
            case "li":
                self.put(self.bullet())
                self.space = True
            case "a":
                self.link = (values.get("href", ""), len(self.output))

    def bullet(self) -> str:
        if not self.lists or (last := self.lists[-1]) is None:
            return "*"
        self.lists[-1] = last + 1
        return f"{last + 1}."

    def end(self, name: str) -> None:
        if name in {"ul", "ol"} and self.lists:
            self.lists.pop()
        self.part(name)
        if name == "a" and self.link:
            self.address(*self.link)
            self.link = None

    def address(self, href: str, label_from: int) -> None:
        """Puts the address behind the label, unless the label says it already."""
        label = "".join(self.output[label_from:]).strip()
        same = self.shown(href)
        if href.startswith("#") or not href or self.shown(label) in {same, same.partition(":")[2]}:
            return
        trailing, self.space = self.space, bool(label) or self.space
        self.put(f"({href})" if label else href)
        self.space = trailing

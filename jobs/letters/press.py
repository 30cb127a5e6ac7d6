"""How does the data of a letter become a PDF? By a fixed Typst program, in which what people wrote is only ever data.

A letter comes in as JSON, never as Typst source, and there is nothing that it could name: the program's root is an
empty folder that is gone by then, no package can be found, and only the fonts that Typst brings along are used. So the
same letter is the same bytes, whenever and on whichever machine it is set: the document has no date, and its id is made
of its content.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from typing import Final

import typst

# All lengths of the address field are those of DIN 5008, form B: a window envelope shows it. Blocks come as a flat
# list, so that no depth of the HTML is one of the program.
_PROGRAM: Final = rb"""
#let letter = json(bytes(sys.inputs.letter))
#let (top, right, bottom, left) = letter.margins.map(length => length * 1mm)
#let step = 1.5em

#let styled(run) = {
  let (shown, styles) = (run.at(0), run.at(1))
  if shown == "\n" { return linebreak() }
  shown = text(shown)
  for style in styles {
    if style == "b" { shown = strong(shown) }
    if style == "i" { shown = emph(shown) }
    if style == "u" { shown = underline(shown) }
    if style == "s" { shown = strike(shown) }
    if style == "^" { shown = super(shown) }
    if style == "_" { shown = sub(shown) }
  }
  if run.len() > 2 { link(run.at(2), shown) } else { shown }
}

#let written(item) = {
  let right-to-left = item.at("rtl", default: false)
  let align-to = item.at("align", default: "start")
  let level = item.at("heading", default: 0)
  set text(dir: if right-to-left { rtl } else { ltr })
  set text(size: (1em, 1.6em, 1.35em, 1.2em, 1.1em, 1em, 0.9em).at(level))
  set text(weight: "bold") if level > 0
  set par(justify: align-to == "justify")
  set align((start: start, justify: start, left: std.left, right: std.right, center: center).at(align-to))
  if "marker" in item {
    let distance = if right-to-left { step } else { -step }
    place(std.top + start, dx: distance, box(width: step - 0.5em, align(end, text(item.marker))))
  }
  item.runs.map(styled).join()
}

#let set-block(item) = {
  let side = if item.at("rtl", default: false) { "right" } else { "left" }
  let inset = ((side): step * item.at("indent", default: 0))
  let above = if item.at("gap", default: false) { 1.1em } else { 0.65em }
  let shown = if item.kind == "rule" {
    line(length: 100%, stroke: 0.5pt)
  } else if item.kind == "table" {
    table(
      columns: item.columns,
      stroke: if item.borders { 0.5pt },
      inset: (x: 0.4em, y: 0.3em),
      ..item.cells.map(cell => table.cell(
        x: cell.x,
        y: cell.y,
        colspan: cell.width,
        rowspan: cell.height,
        cell.blocks.map(set-block).join(),
      )),
    )
  } else {
    written(item)
  }
  block(width: 100%, above: above, below: 0.65em, inset: inset, sticky: item.at("heading", default: 0) > 0, shown)
}

#set document(date: none)
#set page(paper: "a4", margin: (top: top, right: right, bottom: bottom, left: left))
#set text(font: ("Libertinus Serif", "DejaVu Sans Mono", "New Computer Modern"), size: 11pt, hyphenate: false)
#set par(leading: 0.65em, spacing: 0.65em)

#if letter.address.len() > 0 {
  let size = if letter.address.len() > 6 { 8pt } else { 10.5pt }
  place(std.top + std.left, dx: 25mm - left, dy: 62.7mm - top, block(
    width: 80mm,
    height: 32mm,
    clip: true,
    text(size: size, letter.address.map(written).map(line => block(above: 0.5em, below: 0.5em, line)).join()),
  ))
  v(calc.max(0mm, 98.5mm - top))
}
#letter.blocks.map(set-block).join()
"""


class CannotBeSet(Exception):
    """The letter has no PDF. The text says what Typst said of the program, nothing of the letter."""


class Press:
    """Sets one letter after another; one of them at a time."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory(prefix="letters-") as nowhere:
            self._compiler = typst.Compiler(
                root=nowhere, ignore_system_fonts=True, package_path=nowhere, package_cache_path=nowhere
            )

    def pdf(self, letter: Mapping[str, object]) -> bytes:
        """The PDF of what `letter_data` gave. Raises `CannotBeSet`."""
        try:
            made = self._compiler.compile(
                _PROGRAM, format="pdf", sys_inputs={"letter": json.dumps(letter)}, pdf_tags=False
            )
        except typst.TypstError as error:
            raise CannotBeSet(error.message) from None
        assert isinstance(made, bytes)
        return made

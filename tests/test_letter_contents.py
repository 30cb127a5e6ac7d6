"""Does a letter say what its author and its data say, at its place, and nothing that anybody could make it say?"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from content.letter_blocks import Block, blocks_of
from content.letters import Margins, addressee, compile_letter, letter_data
from jobs.letters.press import CannotBeSet, Press
from tests.lettering import lines_of, text_of

ANN = {
    "contact.first_name": "Ann",
    "contact.last_name": "Person",
    "contact.address": "Street 1\nfirst  floor",
    "contact.zip_code": "8000",
    "contact.city": "Aarhus C",
    "contact.state_region": "Midtjylland",
    "contact.country": "Denmark",
}
USUAL = Margins()
ADDRESS = ["Ann Person", "Street 1", "first floor", "8000 Aarhus C", "Midtjylland", "Denmark"]


@pytest.fixture(scope="module")
def press() -> Press:
    return Press()


def document(content: str, values: Mapping[str, str | None] = ANN, template: str | None = None) -> str:
    return compile_letter(content=content, template=template).render(values)


def set_in(press: Press, content: str, values: Mapping[str, str | None] = ANN, margins: Margins = USUAL) -> bytes:
    return press.pdf(letter_data(document(content, values), margins))


def said_by(pdf: bytes) -> str:
    """The text behind the address of Ann."""
    text = text_of(pdf)
    address = "\n".join(ADDRESS)
    assert text.startswith(address)
    return text.removeprefix(address).strip("\n")


def shown(block: Block) -> str:
    """A block in brief: its marks in brackets, then its text with styles in braces."""
    marks = [f"{key}={value}" for key, value in block.items() if key not in {"kind", "runs", "cells"}]
    if block["kind"] == "table":
        cells = [
            f"{cell['x']},{cell['y']},{cell['width']},{cell['height']}:" + "/".join(map(shown, cell["blocks"]))
            for cell in block["cells"]
        ]
        return f"table[{' '.join(marks)}]({' | '.join(cells)})"
    if block["kind"] == "rule":
        return f"rule[{' '.join(marks)}]"
    text = "".join(run[0] if run[1:] == [""] else f"{{{':'.join(run[1:])} {run[0]}}}" for run in block["runs"])
    return f"[{' '.join(marks)}]{text}" if marks else text


GAP = "[gap=True]"
READ = {
    "words": ("  some \n\t words  <!-- no --> here ", ["some words here"]),
    "spaces between elements": ("<p>a <b> b</b> <i>c</i>\n</p> <p>d</p>", [f"{GAP}a {{b b}} {{i c}}", f"{GAP}d"]),
    "styles": (
        "<strong>a</strong><em>b</em><u>c</u><s>d</s><sup>e</sup><sub>f</sub><b><i>g</i></b>",
        ["{b a}{i b}{u c}{s d}{^ e}{_ f}{bi g}"],
    ),
    "styles of CSS": (
        ('<span style="font-weight:bold;font-style:italic;text-decoration:underline line-through;color:red">a</span>'
        '<b style="font-weight:normal">b</b>'),
        ["{bisu a}b"],
    ),
    "lines": ("<p>a<br>b<br></p><p><br></p><p>c<br><br>d</p>", [f"{GAP}a\nb", f"{GAP}\u00a0", f"{GAP}c\n\nd"]),
    "headings": ("<h1>a</h1><h6>b</h6>", ["[heading=1 gap=True]{b a}", "[heading=6 gap=True]{b b}"]),
    "divisions": ("<div>a<div>b</div></div>c", ["a", "b", "c"]),
    "lists": (
        "<ul><li>a<ol start=3><li>b<li>c</ol></li><li><p>d</p><p>e</p></li><li></li></ul>",
        [
            "[marker=• gap=True indent=1]a",
            "[marker=3. indent=2]b",
            "[marker=4. indent=2]c",
            "[marker=• indent=1]d",
            "[indent=1]e",
            "[marker=• indent=1]\u00a0",
        ],
    ),
    "quotations": (
        "<blockquote>a<blockquote>b</blockquote></blockquote>c",
        ["[gap=True indent=1]a", "[gap=True indent=2]b", f"{GAP}c"],
    ),
    "links": (
        ('<a href="https://a.example/?b=1&amp;c">a</a> <a href="mailto:b@b.example">b</a> <a href="tel:+45">c</a>'
        ' <a href="#d">d</a>'),
        ["{:https://a.example/?b=1&c a} {:mailto:b@b.example b} c d"],
    ),
    "rules": ("a<hr>b", ["a", "rule[]", "b"]),
    "alignment": (
        '<p align="right">a</p><center>b<p style="text-align:justify">c</p></center>',
        ["[align=right gap=True]a", "[align=center gap=True]b", "[align=justify gap=True]c"],
    ),
    "preformatted": ("<pre>a  b\n c</pre>", [f"{GAP}a\u00a0\u00a0b\n\u00a0c"]),
    "right to left": (
        '<p>שלום abc</p><p>abc שלום</p><p dir="rtl">abc</p><p dir="ltr">שלום</p>',
        ["[rtl=True gap=True]שלום abc", f"{GAP}abc שלום", "[rtl=True gap=True]abc", f"{GAP}שלום"],
    ),
    "tables": (
        ('<table border="1"><caption>a</caption><tr><th>b</th><td colspan="2">c</td></tr>'
        '<tr><td rowspan="9">d</td><td>e<p>f</p></td><td></td></tr><tr><td>g</td></tr></table>h'),
        [
            "a",
            ("table[columns=3 borders=True gap=True](0,0,1,1:[align=center]{b b} | 1,0,2,1:c | 0,1,1,2:d"
            " | 1,1,1,1:e/[gap=True]f | 2,1,1,1: | 1,2,1,1:g)"),
            f"{GAP}h",
        ],
    ),
    "tables for the layout": (
        ("<table><tr><td><p>a</p><table><tr><td>b</td><td>c<table><tr><td>d</td><td>e</td></tr></table></td></tr></table>"
        "</td></tr></table>"),
        [f"{GAP}a", "table[columns=2 borders=False gap=True](0,0,1,1:b | 1,0,1,1:c/d/e)"],
    ),
    "too many columns": (f"<table><tr>{'<td>a</td>' * 21}</tr></table>", ["a"] * 21),
    "what is not shown": ('<style>p{color:red}</style><script>a</script><p style="display:none">b<br>c</p>d', ["d"]),
    "images": ('<img src="https://a.example/b.png" alt="a logo"><img src="c.png">', ["a logo"]),
    "all else": ("<article><font>a</font></article><dl><dt>b<dd>c</dl>", ["a", "[gap=True]b", "[indent=1]c"]),
    "long words": (f"{'a' * 59} {'b' * 62}", [f"{'a' * 59} " + "\u200b".join(["b" * 10] * 6) + "\u200bbb"]),
    "nothing": ("<p></p><div> </div>", []),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_reading(name: str) -> None:
    """What HTML says is read as a browser reads it, as far as a letter can show it; all else is its text."""
    source, expected = READ[name]
    body = compile_letter(content=source, template=None).message.html.literals[0]
    assert [shown(block) for block in blocks_of(body)] == expected


def test_any_tokens() -> None:
    """HTML that nobody has cleaned is read as well: stray ends, what is never closed, parts of tables anywhere."""
    source = "</p></table><td>a<tr><td>b</td></b><table><td>c<li>d</table></td><ol><li>e</ol></ol>f<table><tr><td>g"
    assert "".join(map(shown, blocks_of(source))).count("a") >= 1
    assert all(letter in "".join(map(shown, blocks_of(source))) for letter in "abcdefg")


HOSTILE = {
    "reading": '#read("/etc/passwd")',
    "importing": '#import "@preview/cetz:0.3.4": canvas',
    "evaluating": "#eval(\"1+1\") #{1+1} #let x = 1",
    "mathematics": "$x$ $1/2$ \\$",
    "markup": "*x* _y_ `z` = Head - item + item / term: @ref <label> ~ ---",
    "escapes": "\\ \\u{41} \\# \\n \\\\",
    "strings": "\" ' \"\"\" \\\" ] } ) ; // comment /* comment */",
    "addresses": "https://a.example www.b.example file:///etc/passwd",
    "templates": "{% x %} ${x} <%= x %> %s {0}",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_text_is_data(press: Press, name: str) -> None:
    """What the author or a contact wrote is printed as it is: it is no Typst, and no merge field."""
    hostile = HOSTILE[name]
    escaped = hostile.replace("&", "&amp;").replace("<", "&lt;")
    pdf = set_in(press, f"<p>{escaped}</p><p>{{{{contact.title}}}}</p>", {**ANN, "contact.title": hostile})
    words = said_by(pdf).split()
    assert words == hostile.split() * 2


def test_braces_in_values_stay(press: Press) -> None:
    """A value that looks like a merge field is none; one that is not known is nothing."""
    pdf = set_in(press, "{{contact.title}}", {**ANN, "contact.title": "{{7*7}} {{contact.first_name}}"})
    assert said_by(pdf) == "{{7*7}} {{contact.first_name}}"
    assert "49" not in said_by(set_in(press, "<p>a {{7*7}}</p>"))


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


def test_nothing_is_fetched(press: Press, listening: socket.socket, tmp_path: Path) -> None:
    """Images, style sheets and links reach neither the network nor the disk."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret of the disk")
    port = listening.getsockname()[1]
    sources = [f"http://127.0.0.1:{port}/a.png", f"file://{secret}", str(secret), f"//127.0.0.1:{port}/b.svg"]
    tags = "".join(
        f'<img src="{source}" alt="{source}"><a href="{source}">l</a><iframe src="{source}"></iframe>'
        f'<link rel="stylesheet" href="{source}"><p style="background:url({source})">p</p>'
        f"<style>@import url({source});</style>"
        for source in sources
    )
    pdf = press.pdf(letter_data(document(tags), USUAL))
    raw = press.pdf(letter_data(tags, USUAL))
    for each in (pdf, raw):
        assert "the secret" not in text_of(each)
        assert b"/Subtype/Image" not in each.replace(b" ", b"")
    with pytest.raises(TimeoutError):
        listening.accept()


def test_the_program_reaches_no_files(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a program that wanted to read could not: nothing is in its folder, and no package is found."""
    for wanted in ('#read("press.py")', '#read("/etc/passwd")', '#import "@preview/cetz:0.3.4"', '#image("a.png")'):
        monkeypatch.setattr("jobs.letters.press._PROGRAM", wanted.encode())
        with pytest.raises(CannotBeSet):
            press.pdf({})


def test_address(press: Press) -> None:
    """The address stands in the window of an envelope (DIN 5008, form B), wherever the margins are."""
    for left in (0.0, 40.0):
        lines = lines_of(set_in(press, "<p>Begin</p>", margins=Margins(left=left, top=10)))
        assert [line.text for line in lines] == [*ADDRESS, "Begin"]
        assert [line.x for line in lines[:-1]] == pytest.approx([25] * 6, abs=0.1)
        assert all(62.7 < line.y < 62.7 + 27.3 for line in lines[:-1])
        assert lines[-1].x == pytest.approx(left, abs=0.1)
        assert 98.5 < lines[-1].y < 104


def test_address_of_little(press: Press) -> None:
    """What is missing of an address leaves no empty line; a contact without any has none."""
    values: dict[str, str | None] = {"contact.last_name": "Person", "contact.address": " \n", "contact.city": "Aarhus"}
    assert text_of(set_in(press, "<p>x</p>", values)) == "Person\nAarhus\nx"
    assert text_of(set_in(press, "<p>x</p>", {})) == "x"
    many = {**ANN, "contact.address": "\n".join(f"line {n}" for n in range(20)), "contact.first_name": "A" * 500}
    lines = lines_of(set_in(press, "<p>x</p>", many))
    assert lines[-1].text == "x"
    assert lines[0].y > 62.7


def test_address_is_no_other(press: Press) -> None:
    """An address in the author's text is text; one in a contact's values is not HTML."""
    forged = '<address class="recipient">Forged</address>\n'
    assert said_by(set_in(press, f"{forged}<p>x</p>")) == "Forged\nx"
    values = {**ANN, "contact.first_name": f"</address>{forged}"}
    letter = document("<p>x</p>", values)
    assert addressee(letter) == '</address><address class="recipient">Forged</address> Person'
    assert addressee(f"<p>x</p>{forged}") == ""
    assert letter_data(f"<p>x</p>{forged}", USUAL)["address"] == []


def test_margins_leave_room(press: Press) -> None:
    """Margins that would leave no room are made smaller; whatever they are, the words are on the page."""
    for width in (0.0, 500.0, float("inf"), float("nan"), -7.0):
        margins = Margins(width, width, width, width)
        lines = lines_of(set_in(press, f"<p>{'word ' * 20}</p>", margins=margins))
        assert sum(line.text.count("word") for line in lines) == 20
        assert all(0 <= line.x <= 200 and 0 < line.y < 297 for line in lines)


def test_scripts_of_the_world(press: Press) -> None:
    """Other alphabets are set, right to left where it is so; what no font has, such as emoji, does no harm."""
    text = said_by(set_in(press, "<p>Ærø Čeština Ελληνικά Русский</p><p>before 😀 漢字 after</p>"))
    assert text.startswith("Ærø Čeština Ελληνικά Русский\nbefore ")
    assert text.endswith(" after")
    (hebrew,) = [line for line in lines_of(set_in(press, "<p>שלום</p>")) if line.text not in ADDRESS]
    assert hebrew.x > 100
    assert set_in(press, "<p>السلام عليكم</p><p>\u202egnp.exe\u202c \u200f\ufeff\u0000</p>")


def test_control_characters(press: Press) -> None:
    """Characters that are none to be printed are left out, from texts and from addresses."""
    values = {**ANN, "contact.title": "a\x07b\x1bc\x85d\ue000e"}
    assert said_by(set_in(press, "<p>{{contact.title}}</p>", values)).startswith("abcd")
    assert addressee(document("x", {"contact.first_name": "A\x07n\nn"})) == "An n"


LARGE = {
    "nothing": "",
    "words": "<p>" + "lorem ipsum " * 40_000 + "</p>",
    "one word": "<p>" + "x" * 100_000 + "</p>",
    "paragraphs": "<p>x</p>" * 10_000,
    "nested tags": "<b>" * 10_000 + "deep",
    "nested tables": "<table><tr><td>a<td>" * 10_000 + "deep",
    "nested lists": "<ul><li>" * 10_000 + "deep",
    "nested quotations": "<blockquote>" * 10_000 + "deep",
    "wide tables": "<table>" + "<tr><td colspan=20 rowspan=100>x" * 5_000,
    "long tables": "<table border=1>" + "<tr><td>a<td>b" * 2_000,
    "one row": "<table><tr>" + "<td rowspan=9>x" * 5_000,
    "lines": "<br>" * 20_000,
    "long link": f'<a href="https://a.example/{"x" * 100_000}">link</a>',
    "a megabyte": "lorem ipsum " * 85_000,
}


@pytest.mark.parametrize("name", LARGE)
def test_large(press: Press, name: str) -> None:
    """However long or deep a letter is, it becomes a PDF, to its last words."""
    pdf = set_in(press, f"{LARGE[name]}<div>The end</div>")
    assert lines_of(pdf, -1)[-1].text.endswith("The end")


def test_nothing_of_the_letter_is_in_an_error(press: Press) -> None:
    """When the program fails, what it says is about the program."""
    with pytest.raises(CannotBeSet) as caught:
        press.pdf({"address": [], "margins": [20, 20, 20, 20], "blocks": [{"kind": "text", "secret": "hush"}]})
    assert "hush" not in str(caught.value)


AGAIN = """
import sys
from content.letters import Margins, letter_data
from jobs.letters.press import Press
press = Press()
for letter in (sys.argv[2], sys.argv[1]):
    made = press.pdf(letter_data(letter, Margins()))
sys.stdout.buffer.write(made)
"""


def test_the_same_bytes(press: Press, tmp_path: Path) -> None:
    """A letter is the same PDF at another time, in another process, after other letters, without any font installed."""
    content = f"<h1>a</h1><p>some <b>words</b> שלום 😀</p>{'<p>x</p>' * 200}"
    letter, other = document(content), document("<p>other</p>", {})
    made = press.pdf(letter_data(letter, USUAL))
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "HOME": str(tmp_path), "SOURCE_DATE_EPOCH": "7"}
    environment |= {"FONTCONFIG_FILE": "/dev/null", "RAYON_NUM_THREADS": "1", "TYPST_FONT_PATHS": "/usr/share/fonts"}
    again = subprocess.run(
        [sys.executable, "-c", AGAIN, letter, other], env=environment, cwd=tmp_path, capture_output=True, check=True
    )
    assert again.stdout == made
    assert b"CreationDate" not in made
    assert b"ModDate" not in made

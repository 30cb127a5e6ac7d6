"""Does `campaign-gateway explain` tell what the gateway makes of a document, or where it is wrong?"""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from gateway.cli import main

LIST = """\
query Campaigns($first: Int, $with: Boolean = true) {
  campaigns(first: $first) { nodes { name user @include(if: $with) { firstName } } }
}
"""
TWO = "query One { viewer { user { lastName } } } query Other { __typename }"


@pytest.fixture
def document(tmp_path: Path) -> Path:
    return tmp_path / "document.graphql"


def explain(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int | str | None, str, str]:
    """The status, and what is written."""
    status: int | str | None
    try:
        status = main(["explain", *map(str, arguments)])
    except SystemExit as end:
        status = end.code
    written = capsys.readouterr()
    return status, written.out, written.err


def test_a_query(document: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The function is shown, the statement of each fetch under its place, and the cost, all without a database."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://me@127.0.0.1:1/nowhere")
    document.write_text(LIST)
    status, said, _ = explain(capsys, document, "--variables", '{"first": 5}')
    assert status == 0
    function, campaigns, users, costs = said.split("# What ")
    assert "async def operation(roots, context, run):" in function
    assert "'firstName': " in function
    assert campaigns.startswith("is asked for campaigns\n\nSELECT ")
    assert "FROM campaigns" in campaigns
    assert users.startswith("is asked for campaigns.user\n\nSELECT users.id AS parent_key, users.first_name")
    # The connection, and five times a name, a user and a first name.
    assert costs.startswith("it costs\n\ndepth: 4 of at most 15\n")
    assert costs.endswith("cost: 16 of at most 50,000\n")


def test_variables(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Values steer the function and the cost; a value that is not there counts as the most that it could be."""
    document.write_text(LIST)
    status, said, _ = explain(capsys, document, "--variables", '{"with": false, "first": 100}')
    assert (status, "firstName" in said) == (0, False)
    assert "cost: 301 of" in said
    document.write_text("query ($id: ID!, $with: Boolean!) { campaign(id: $id) { id name @skip(if: $with) } }")
    status, said, _ = explain(capsys, document)
    assert (status, "async def" in said) == (0, False)
    assert "no function: @skip by a variable without a value" in said
    status, said, _ = explain(capsys, document, "--variables", '{"with": true}')
    assert (status, "async def" in said) == (0, True)


def test_what_is_not_compiled(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of what graphql-core runs it is said why, and what it costs."""
    document.write_text('mutation { deleteCampaign(id: "x") { userErrors { code } } }')
    status, said, _ = explain(capsys, document)
    assert status == 0
    assert "It is run by graphql-core, as it holds what has no function: a mutation" in said
    assert "cost: 12 of at most 50,000" in said


def test_limits(document: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits are those of the settings, and it is said what is beyond them; so is a page that there cannot be."""
    monkeypatch.setenv("MAX_QUERY_COST", "10")
    document.write_text("{ campaigns(first: 1000) { nodes { id } } }")
    status, said, _ = explain(capsys, document)
    assert status == 0
    assert "cost: 1,001 of at most 10, and so it is refused" in said
    assert "Nothing: `first` must be between 1 and 100." in said
    monkeypatch.setenv("MAX_QUERY_TOKENS", "100")
    document.write_text("{" + " __typename" * 100 + "}")
    status, _, complaint = explain(capsys, document)
    assert (status, complaint) == (2, f"{document}: Query too complex: tokens is 101 and may be at most 100.\n")


@pytest.mark.parametrize(
    ("text", "arguments", "complaints"),
    [
        ("{ campaigns {", [], ["1:14 Syntax Error: Expected Name, found <EOF>."]),
        (
            "{\n  campaigns { nodes { nme } }\n  viewer(id: 1) { __typename } }",
            [],
            [
                "2:23 Cannot query field 'nme' on type 'Campaign'. Did you mean 'name'?",
                "3:10 Unknown argument 'id' on field 'Query.viewer'.",
            ],
        ),
        (
            LIST,
            ["--variables", '{"first": "many"}'],
            ["1:17 Variable '$first' has invalid value: Int cannot represent non-integer value: 'many'"],
        ),
    ],
)
def test_faults(
    document: Path, capsys: pytest.CaptureFixture[str], text: str, arguments: list[str], complaints: list[str]
) -> None:
    """What is wrong is said with its place, as compilers do, and the status is 2."""
    document.write_text(text)
    assert explain(capsys, document, *arguments) == (2, "", "".join(f"{document}:{line}\n" for line in complaints))


def test_which_operation(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a document with several operations one is named; otherwise it is said which there are."""
    document.write_text(TWO)
    assert "'lastName'" in explain(capsys, document, "--operation", "One")[1]
    for arguments in ([], ["--operation", "Third"]):
        status, _, said = explain(capsys, document, *arguments)
        assert (status, said) == (2, f"{document}: name one of its operations by --operation; there are: One, Other\n")


def test_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A document may come from standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"{ viewer }")))
    assert explain(capsys, "-")[2].startswith("-:1:3 Field 'viewer'")


def test_what_cannot_be_read(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there or is no text, and variables that are no object, are named, without a traceback."""
    assert explain(capsys, document) == (2, "", f"{document}: No such file or directory\n")
    document.write_bytes(b"\xff")
    assert explain(capsys, document) == (2, "", f"{document}: not UTF-8\n")
    for variables in ("[]", "{"):
        status, _, said = explain(capsys, document, "--variables", variables)
        assert (status, "argument --variables: not" in said) == (2, True)

"""Can an operator find every setting, and does a wrong one say what is wrong?"""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.cli import main
from gateway.settings import Settings

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_documented(name: str) -> None:
    """Every setting has a description, and a line in README's table with that description and its default."""
    field = Settings.model_fields[name]
    assert field.description
    default = "" if field.default is None else f"`{field.default}`"
    assert f"| `{name.upper()}` | {default} | {field.description} |" in README


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the environment sets what it names."""
    monkeypatch.setenv("PORT", "8123")
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://me:hunter2@db/campaigns")
    settings = Settings()
    assert settings.port == 8123
    assert "hunter2" not in repr(settings)


def test_settings_cannot_be_changed() -> None:
    """Settings are read once; nothing changes them afterwards."""
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]  # it is frozen


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "high"),
        ("PORT", "70000"),
        ("DATABASE_POOL_SIZE", "0"),
        ("STATEMENT_TIMEOUT", "-1"),
        ("JWT_ALGORITHM", "none"),
        ("LOG_LEVEL", "loud"),
        ("JWT_KEY", "short"),
        ("JWT_KEY", "RS256 without any PEM, however long it is"),
        ("DOWNLOAD_SECRET", "short"),
        ("DOWNLOAD_SECONDS", "0"),
        ("PUBLIC_URL", "example.com"),
        ("DATABASE_URL", "mysql://me@db/campaigns"),
        ("DATABASE_URL", "db"),
        ("PUBLIC_URL", "https://example.com/"),
    ],
)
def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    """A setting that makes no sense stops the command with the setting's name, without a traceback."""
    monkeypatch.setenv(name, value)
    if value.startswith("RS256"):
        monkeypatch.setenv("JWT_ALGORITHM", "RS256")
    assert main(["schema"]) == 1
    said = capsys.readouterr().err
    assert name in said
    assert "Traceback" not in said


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_usual_database_urls(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """A database may be named in the usual ways; an empty variable is as if it were not there."""
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://me@db/campaigns")
    url = Settings().database_url
    assert url is not None
    assert url.get_secret_value() == "postgresql+asyncpg://me@db/campaigns"
    monkeypatch.setenv("DATABASE_URL", "")
    assert Settings().database_url is None

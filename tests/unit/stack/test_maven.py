"""Where JVM parts come from: the machine's own Maven settings."""

import pytest

from stack.maven import mirror_of_central, mirrors_central, repository


def settings_xml(*mirrors: tuple[str, str]) -> bytes:
    """A settings file with (mirrorOf, url) mirrors."""
    body = "".join(
        f"<mirror><mirrorOf>{of}</mirrorOf><url>{url}</url></mirror>" for of, url in mirrors
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0">'
        f"<mirrors>{body}</mirrors></settings>"
    ).encode()


@pytest.mark.parametrize(
    ("patterns", "covers"),
    [
        ("*", True),
        ("central", True),
        ("external:*", True),
        ("a, central", True),
        ("*,!central", False),
        ("external:http:*", False),
        ("snapshots", False),
        ("", False),
    ],
)
def test_which_mirrors_stand_in_for_central(patterns: str, covers: bool) -> None:
    assert mirrors_central(patterns) is covers


def test_first_covering_mirror_wins_and_environment_is_filled_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SITE", "site.example")
    text = settings_xml(
        ("external:http:*", "http://0.0.0.0/"),
        ("*", "https://${env.SITE}/maven/"),
        ("central", "https://second.example"),
    )
    assert mirror_of_central(text) == "https://site.example/maven"


@pytest.mark.parametrize("text", [b"", b"not xml", settings_xml(), settings_xml(("*", ""))])
def test_no_mirror(text: bytes) -> None:
    assert mirror_of_central(text) is None


def test_the_variable_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGLOG_MAVEN_REPOSITORY", "https://named.example/m2/")
    assert repository() == "https://named.example/m2"

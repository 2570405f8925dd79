"""The lock of JVM parts: reading it, and what is committed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringlog.jvm import LockError, parse, pins

_SHA = "ab" * 32


def test_jar_and_archive_get_the_names_of_a_maven_repository() -> None:
    jar, archive = parse(
        f"# comment\n\n[kafka]\norg.a:lib:1.2 {_SHA} 10\n"
        f"[registry]\norg.b:app:3:tar.gz:all {_SHA} 7\n"
    )
    assert (jar.part, jar.file_name, jar.size_bytes) == ("kafka", "lib-1.2.jar", 10)
    assert (archive.part, archive.file_name) == ("registry", "app-3-all.tar.gz")
    assert (archive.group, archive.extension, archive.classifier) == ("org.b", "tar.gz", "all")


@pytest.mark.parametrize(
    "line",
    [
        "org.a:lib",
        f"org.a:lib:1 {_SHA}",
        f"org.a:lib:1 {_SHA[:-1]} 5",
        f"org.a:lib:1 {_SHA} five",
        f"org.a:lib:1 {_SHA} 5 more",
        f"org.a:../../etc:1 {_SHA} 5",
    ],
)
def test_a_line_that_pins_nothing_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(LockError, match="jvm.lock:2"):
        parse(f"[kafka]\n{line}\n")


def test_an_artifact_before_any_section_is_refused() -> None:
    with pytest.raises(LockError, match="section"):
        parse(f"org.a:lib:1 {_SHA} 5\n")


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except LockError:
        pass


def test_committed_lock_is_whole_and_names_no_address() -> None:
    every = pins()
    assert {pin.part for pin in every} == {
        "kafka", "registry", "flink", "debezium", "debezium-mysql", "docs",
    }  # fmt: skip
    by_name = {pin.file_name: pin.sha256 for pin in every}  # parts may share a file
    assert all(by_name[pin.file_name] == pin.sha256 for pin in every)
    kafka = [pin.artifact for pin in pins("kafka")]
    assert {"kafka_2.13", "kafka-clients", "scala-library", "slf4j-simple"} <= set(kafka)
    assert [pin.extension for pin in pins("registry")] == ["tar.gz"]

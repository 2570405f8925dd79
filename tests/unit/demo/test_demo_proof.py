"""What the demo makes of `ringlog verify --json`."""

from demo.proof import failures_in


def check(violations: int, *texts: str) -> dict[str, object]:
    return {
        "title": "every call ended once",
        "violations": violations,
        "found": [{"text": text} for text in texts],
    }


def test_violations_are_failures_and_the_first_are_told() -> None:
    assert failures_in({"checks": [check(0), check(4, "a", "b", "c", "d")]}) == [
        "verify: every call ended once: 4 violations: a; b; c"
    ]

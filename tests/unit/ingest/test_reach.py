"""Which trunks a switch can reach: what is news, and what Asterisk's devices say."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asterisk.ari import AriAnswer
from ingest.asterisk.reach import DeviceWatch
from ingest.freeswitch.switch import gateways_of
from ingest.trunks.plan import SwitchPlan
from ingest.trunks.reach import Reach
from ingest.trunks.switches import SwitchMaker
from ringlog.settings import Settings

TRUNKS = {"one": ("a", "b"), "two": ("c",)}


@given(st.lists(st.tuples(st.sampled_from(["one", "two", "strange"]), st.booleans())))
def test_news_is_what_differs_from_what_was_said_last(told: list[tuple[str, bool]]) -> None:
    reach, known = Reach(TRUNKS), dict.fromkeys(TRUNKS, True)
    for name, reachable in told:
        news = reach.news(name, reachable)
        differs = name in known and known[name] != reachable
        assert news == (TRUNKS[name] if differs else ())
        if name in known:
            known[name] = reachable


class PaperAri:
    """Answers as told; `meanwhile` happens while it is asked for a state."""

    app = "ringlog-edge"

    def __init__(self) -> None:
        self.state, self.status = "NOT_INUSE", 200
        self.body: object = None
        self.watch: DeviceWatch | None = None
        self.meanwhile = ""

    async def request(
        self, method: str, path: str, query: Mapping[str, str] | None = None
    ) -> AriAnswer:
        if method == "GET" and self.meanwhile and self.watch is not None:
            self.watch.heard("PJSIP/w", self.meanwhile)
        body = {"name": "PJSIP/w", "state": self.state} if self.body is None else self.body
        return AriAnswer(self.status, body)


@pytest.fixture
def told() -> list[tuple[str, bool]]:
    return []


@pytest.fixture
def ari(told: list[tuple[str, bool]]) -> PaperAri:
    made = PaperAri()
    made.watch = DeviceWatch(
        made,  # type: ignore[arg-type] # the part of it that is used
        {"PJSIP/w": ("west",)}, lambda *news: told.append(news),
    )  # fmt: skip
    return made


async def test_the_first_state_is_asked_for(ari: PaperAri, told: list[tuple[str, bool]]) -> None:
    assert ari.watch is not None
    await ari.watch.look()
    assert told == []
    ari.state = "UNAVAILABLE"
    await ari.watch.look()
    ari.watch.heard("PJSIP/w", "UNAVAILABLE")
    ari.watch.heard("PJSIP/other", "UNAVAILABLE")
    ari.watch.heard("PJSIP/w", "INUSE")
    assert told == [("west", False), ("west", True)]


async def test_an_event_is_newer_than_the_answer(
    ari: PaperAri, told: list[tuple[str, bool]]
) -> None:
    ari.meanwhile = "UNAVAILABLE"
    assert ari.watch is not None
    await ari.watch.look()
    assert told == [("west", False)]


async def test_an_asterisk_that_cannot_tell_says_nothing_against_a_trunk(
    ari: PaperAri, told: list[tuple[str, bool]]
) -> None:
    assert ari.watch is not None
    ari.state, ari.status = "UNAVAILABLE", 404
    await ari.watch.look()
    ari.status, ari.body = 200, "no object"
    await ari.watch.look()
    assert told == []


def test_a_trunk_is_watched_by_the_gateway_that_it_dials() -> None:
    endpoints = {
        "west": "sofia/gateway/{trunk}/{phone}",
        "again": "sofia/gateway/west/0{digits}",
        "external": "sofia/gateway/external::east/{number}",
        "user": "user/{number}",
    }
    assert gateways_of(endpoints) == {"west": ("west", "again"), "east": ("external",)}


@pytest.mark.parametrize("text", ["", "-1", "5s", "nan", "99999", "1e3"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    maker = SwitchMaker(Settings(), "edge", str, lambda _: None, str)
    with pytest.raises(ValueError, match="ask_s is a number of seconds"):
        maker("sim", SwitchPlan(type="sim", url="http://x", options={"ask_s": text}), {})
    assert maker("sim", SwitchPlan(type="sim", url="http://x", options={"ask_s": "2.5"}), {})

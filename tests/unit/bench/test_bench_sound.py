"""The benchmark of cleaned sound: its noises, its echo, its charts and its page."""

from xml.etree import ElementTree

import numpy as np
import pytest

from bench.edge import Step
from bench.report import with_generated
from bench.sound import page
from bench.sound.cost import EdgeCost, LegCost
from bench.sound.far_end import EchoPath, in_noise, over_echo
from bench.sound.hearing import Errors
from bench.sound.material import CROWD, TALKERS, Said, demo_people, level
from bench.sound.noises import KINDS
from bench.sound.plot import bars
from bench.sound.run import ErrorRow, SoundFigures, mean_rate, outcome


def rows() -> list[ErrorRow]:
    return [
        ErrorRow(recogniser, group, name, {"off": Errors(wrong, 20), other: Errors(1, 20)})
        for recogniser in page.RECOGNISERS
        for group, other in (("noise", "noise"), ("after", "echo"), ("over", "echo"))
        for name, wrong in (("none", 0), ("hum|5 dB", 9))
    ]


FOUND = SoundFigures(
    rows(), [LegCost("noise", 2.5)], [EdgeCost(3, Step(30, 100, 100, 0, 0.25, 1.0))]
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_noise_is_the_same_again_and_has_rms_1(kind: str) -> None:
    once, again = KINDS[kind](8000, 3), KINDS[kind](8000, 3)
    assert np.array_equal(once, again) and not np.array_equal(once, KINDS[kind](8000, 4))
    assert np.sqrt((once**2).mean()) == pytest.approx(1)


def test_no_customer_is_in_the_babble() -> None:
    assert not set(CROWD) & set(TALKERS) and "" not in CROWD


def test_people_speak_at_one_level() -> None:
    for said in demo_people(5):
        assert 20 * np.log10(level(said.sound) / 32768) == pytest.approx(-22, abs=0.1)


def test_an_echo_is_late_and_quieter() -> None:
    ours = np.zeros(8000)
    ours[1000] = 10_000
    echo = EchoPath(200, -12).of(ours)
    assert len(echo) == len(ours)
    assert np.abs(echo).argmax() == 1000 + 1600
    assert 10 * np.log10((echo**2).sum() / (ours**2).sum()) == pytest.approx(-12, abs=0.1)


@pytest.mark.parametrize("clean", ["off", "noise+echo"])
def test_a_call_logs_all_that_came(clean: str) -> None:
    said = Said("x", np.random.default_rng(1).normal(0, 2000, 8000))
    for records in (
        in_noise("a", [said], KINDS["hum"](40_000, 1), 10, clean, "demo"),
        over_echo("b", said, EchoPath(30, -6), True, clean, "demo"),
    ):
        sound = [r for r in records if r.kind == "chunk"]
        assert {r.processing.removesuffix("+echo") for r in sound} <= {"none", "echo", "noise+aec"}
        ends = [r.rtp_ts + len(r.payload) for r in sound]
        assert [r.rtp_ts for r in sound] == [0, *ends[:-1]]
        assert records[-1].kind == "end"


def test_a_chart_is_xml_with_a_bar_for_every_figure() -> None:
    text = bars("a < b", ["x|1 dB", "y"], {"off": [10.0, 250.0], "on": [0.0, 5.0]})
    tree = ElementTree.fromstring(text)
    drawn = [e for e in tree.iter("{http://www.w3.org/2000/svg}rect") if e.get("width") != "10"]
    assert len(drawn) == 1 + 4
    assert all(float(e.get("y") or 0) >= 0 for e in drawn), "a bar that is too high is cut"
    assert "250" in text
    with pytest.raises(ValueError, match="every group"):
        bars("t", ["x"], {"off": []})


def test_the_page_has_every_figure_and_every_chart() -> None:
    text = page.tables(FOUND)
    charts = page.charts(FOUND)
    assert len(charts) == 6 and all(f"]({name})" in text for name in charts)
    assert "| hum 5 dB | 45.0 % | 5.0 % |" in text
    assert "| 30 | 3 | 25% | 0 | 0 |" in text and "| noise | 2.5 ms | 400 |" in text
    document = with_generated(f"a\n{page.BEGIN}\nold\n{page.END}\nb", text, page.BEGIN, page.END)
    assert document.startswith("a\n") and document.endswith("\nb") and "old" not in document


def test_the_mean_is_of_characters() -> None:
    few = [
        ErrorRow("d", "g", "a", {"off": Errors(1, 10)}),
        ErrorRow("d", "g", "b", {"off": Errors(5, 30)}),
    ]
    assert mean_rate(few, "off") == 15.0
    measures = outcome(FOUND).measures
    assert [m.theirs for m in measures] == [45.0] * 6 and {m.ours for m in measures} == {5.0}

"""The simulated caller recognises prompts by their sound alone."""

import numpy as np
import pytest

from demo.hearing import FRAME, Ear, Earpiece, Heard, Int16
from ringlog.audio import g711
from ringlog.audio.espeak import speak

TEXTS = {
    "greeting": "您好，请问您现在方便接电话吗",
    "offer": "我们最近有优惠活动，新用户首单立减二十元，请问您需要了解一下吗",
    "offer.member": "我们的会员可以享受八折优惠，请问您需要了解一下吗",
    "polite_end": "好的，不打扰您了，祝您生活愉快，再见",
    "registered": "好的，已经为您登记，稍后给您发送短信，请注意查收",
    "transfer": "请稍等，正在为您转接",
    "unclear": "对不起，我没有听清楚，请您再说一遍",
    "who": "我是智能客服",
}


@pytest.fixture(scope="module")
def prompts() -> dict[str, Int16]:
    return {name: speak(text, fix_readings=True) for name, text in TEXTS.items()}


def line(*parts: Int16) -> Int16:
    """What comes over the wire: PCMU, whole frames."""
    x = np.concatenate(parts)
    return g711.decode_pcmu(g711.encode_pcmu(np.pad(x, (0, -len(x) % FRAME))))


def quiet(ms: int) -> Int16:
    return np.zeros(8 * ms, np.int16)


def listen(ear: Ear, x: Int16) -> list[Heard]:
    return [h for i in range(0, len(x), FRAME) for h in ear.feed(x[i : i + FRAME])]


@pytest.mark.parametrize("name", TEXTS)
def test_every_prompt_is_recognised_and_heard_to_its_end(
    name: str, prompts: dict[str, Int16]
) -> None:
    heard = listen(Ear(prompts), line(quiet(300), prompts[name], quiet(1200)))
    assert [(h.kind, h.prompt) for h in heard if h.kind == "ended"] == [("ended", name)]
    assert heard[-1].complete


def test_a_prompt_that_is_cut_off_ends_incomplete(prompts: dict[str, Int16]) -> None:
    heard = listen(Ear(prompts), line(quiet(100), prompts["offer"][: 8 * 2_000], quiet(1500)))
    assert [h.kind for h in heard] == ["began", "ended"]
    assert heard[1].prompt == "offer"
    assert not heard[1].complete


def test_prompts_in_a_row_are_told_apart(prompts: dict[str, Int16]) -> None:
    names = ["greeting", "offer.member", "polite_end", "registered"]
    sound = [part for n in names for part in (prompts[n], quiet(900))]
    ended = [h.prompt for h in listen(Ear(prompts), line(*sound)) if h.kind == "ended"]
    assert ended == names


def test_noise_is_no_prompt(prompts: dict[str, Int16]) -> None:
    noise = np.random.default_rng(1).normal(0, 2_000, 8 * 3_000).astype(np.int16)
    heard = listen(Ear(prompts), line(noise, quiet(1500)))
    assert [(h.kind, h.prompt) for h in heard] == [("ended", None)]


def test_a_click_before_a_prompt_does_not_hide_it(prompts: dict[str, Int16]) -> None:
    click = np.full(320, 3_000, np.int16)
    heard = listen(Ear(prompts), line(click, quiet(140), prompts["greeting"], quiet(1200)))
    assert [(h.kind, h.prompt) for h in heard] == [("began", "greeting"), ("ended", "greeting")]


@pytest.mark.parametrize("lead_ms", [300, 305, 311])
def test_a_prompt_right_behind_another_is_heard(lead_ms: int, prompts: dict[str, Int16]) -> None:
    sound = line(quiet(lead_ms), prompts["who"], prompts["greeting"], quiet(1200))
    ended = [(h.prompt, h.complete) for h in listen(Ear(prompts), sound) if h.kind == "ended"]
    assert ended == [("who", True), ("greeting", True)]


def test_times_that_wander_by_some_samples_lose_no_frame() -> None:
    earpiece = Earpiece()
    wander = [0, -8, 8, -8, 0, 8]
    for n, off in enumerate(wander):
        earpiece.put(
            (0xFFFFFF00 + n * FRAME + off) & 0xFFFFFFFF, np.full(FRAME, n + 1, np.int16), 0
        )
    assert [int(frame[0]) for frame in earpiece.take(0)] == [1, 2, 3, 4, 5, 6]


def test_a_hole_is_silence_and_a_swapped_pair_is_put_in_order() -> None:
    earpiece = Earpiece()
    for n in (0, 2, 1, 5):
        earpiece.put(n * FRAME, np.full(FRAME, n + 1, np.int16), 0)
    assert [int(frame[0]) for frame in earpiece.take(0)] == [1, 2, 3, 0, 0, 6]

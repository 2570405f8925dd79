"""What customers say, as the demo's recogniser writes it, slips included."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.robots.emotions import emotion_of
from streams.robots.phonetic import difference, found_in, likeness, normalise, syllables
from streams.robots.understanding import Understander, backchannel_only
from tests.unit.robots.robot_talk import script_of

UNDERSTANDER = Understander.of(script_of().playbook)

SAID = {
    "affirm": "对 对的 是 是的 好 好的 好的谢谢 可以 可以的 行 没问题 好的没问题 方便你说 我是本人 "
    "是我本人 我就是 确认 知道了 我知道了 明白了 收到了 满意 非常满意",
    "reject": "不行 不可以 不用了 不用了谢谢 不需要 我不需要 我不需要谢谢 不要 不要了 我不感兴趣 "
    "没兴趣 没有兴趣 我已经买了 取消 我要取消",
    "stop_calling": "不要再打了 别再打了 你们不要再打电话了",
    "suspicious": "骗子 你们是骗子吧 从哪里知道我的电话 怎么有我的号码",
    "register": "给我登记吧 我要买 帮我报名",
    "busy": "我在开会 我在开车 我在上班 我现在很忙 我现在没时间 没时间 现在不方便 我现在不方便 "
    "等一下再打 晚点再打给我 明天再说 你明天再打吧",
    "price_too_high": "价格太高了 你们的价格太高了 太贵了 太贵了便宜一点 能不能便宜一点 "
    "可以便宜点吗 别人家更便宜",
    "ask_discount": "有没有优惠 有什么优惠 有折扣吗 会员折扣 会员有折扣吗 首单立减 首单立减多少 "
    "能不能分期 可以分期吗",
    "ask_price": "怎么收费 多少钱 一个月多少钱 一年多少钱 费用是多少",
    "ask_details": "可以介绍一下吗 请介绍一下 你介绍一下吧 你说吧 请讲 继续说 我想了解一下 "
    "可以了解一下",
    "consider": "我考虑一下 我再考虑考虑 我要跟家人商量一下",
    "transfer": "转人工 我要转人工 请转人工客服 人工服务 找人工 我要投诉 我要投诉你们",
    "who_are_you": "你是谁 你们是哪里 你是哪位 哪位 你是机器人吗 你是真人吗",
    "repeat": "听不清楚 我听不清楚 你说什么 再说一遍 请再说一遍 没听清楚 声音太小了 大声一点 "
    "说慢一点",
    "deny": "不是 打错了 你打错了 我不认识他 他不在 不是本人 他是我朋友",
    "hello": "喂 喂你好 你好 您好",
    "backchannel": "嗯 哦 啊",
    "send_info": "发短信给我 加我微信 发到我微信 可以加微信吗",
    "bye": "再见 谢谢再见 挂了 先这样吧",
    "thanks": "谢谢",
    "unclear": "养老保险怎么交 我的订单到哪里了 怎么走 我忘了 周末有时间 会影响征信吗",
}


@pytest.mark.parametrize(("intent", "lines"), SAID.items())
def test_customers_lines(intent: str, lines: str) -> None:
    for line in lines.split():
        heard = UNDERSTANDER.understand(line)
        assert heard.intent == intent, (line, heard)
        # The recogniser's text may have spaces between the words.
        assert UNDERSTANDER.understand(" , ".join(line)).intent == intent


@pytest.mark.parametrize(
    ("slip", "intent"),
    [
        ("打声一点", "repeat"), ("部需要", "reject"), ("转人公", "transfer"),
        ("价格太高乐", "price_too_high"),
        ("不要在打了", "stop_calling"), ("我在开灰", "busy"), ("不干兴趣", "reject"),
        ("我现在梅时间", "busy"), ("多少前", "ask_price"), ("请在说一遍", "repeat"),
        ("便宜一店", "price_too_high"), ("刻以", "affirm"),
    ],
)  # fmt: skip
def test_recognisers_slips(slip: str, intent: str) -> None:
    assert UNDERSTANDER.understand(slip).intent == intent


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("喂你好你们的价格太高了", "price_too_high"),
        ("好的谢谢不用了", "reject"),
        ("我不想了解一下", "reject"),
        ("可以不可以便宜一点", "price_too_high"),
        ("我现在不太方便", "busy"),
        ("我真的不需要你们的服务", "reject"),
        ("那个我想转人工客服可以吗", "transfer"),
    ],
)
def test_longer_utterances_and_negation(text: str, intent: str) -> None:
    assert UNDERSTANDER.understand(text).intent == intent


@pytest.mark.parametrize(
    ("text", "intent"),
    [("好啊", "affirm"), ("行吧", "affirm"), ("我要买", "register"), ("给我登记吧", "register")],
)
def test_plain_agreement_is_understood(text: str, intent: str) -> None:
    assert UNDERSTANDER.understand(text).intent == intent


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("好的再见", "bye"), ("知道了挂了", "bye"), ("好的我考虑一下", "consider"),
        ("好的不用了谢谢", "reject"), ("知道了不需要", "reject"),
        ("可以吧不过太贵了", "price_too_high"),
        ("好的我不要", "unclear"), ("可以但是不登记", "unclear"), ("没问题不过我不买", "unclear"),
        ("可以考虑", "unclear"), ("好的没问题", "affirm"), ("嗯可以", "affirm"),
    ],
)  # fmt: skip
def test_a_yes_beside_something_else_is_the_else(text: str, intent: str) -> None:
    assert UNDERSTANDER.understand(text).intent == intent


@pytest.mark.parametrize("text", ["方便吗", "可以吗", "如果可以的话", "他说可以", "不是说可以"])
def test_a_question_a_condition_and_a_quote_agree_to_nothing(text: str) -> None:
    assert UNDERSTANDER.understand(text).meaning != "affirm"


def test_what_is_told_of_an_understanding() -> None:
    heard = UNDERSTANDER.understand("现在不方便，不要再打了")
    assert (heard.intent, heard.meaning, heard.certain) == ("stop_calling", "opt_out", True)
    assert heard.alternatives[0][0] == "busy"
    assert heard.margin > 0
    vague = UNDERSTANDER.understand("你们天天打")
    assert (vague.meaning, vague.certain) == ("opt_out", False)


@pytest.mark.parametrize("text", ["", " ", "，。", "...", "\n"])
def test_nothing_said_has_no_intent(text: str) -> None:
    heard = UNDERSTANDER.understand(text)
    assert (heard.intent, heard.confidence) == ("", 0.0)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_understood_somehow(text: str) -> None:
    heard = UNDERSTANDER.understand(text)
    assert heard.intent in {"", "unclear", *script_of().playbook.intents}
    assert 0.0 <= heard.confidence <= 1.0


@pytest.mark.parametrize(
    ("text", "only"), [("嗯", True), ("嗯，哦", True), ("", True), ("嗯好", False)]
)
def test_backchannels(text: str, only: bool) -> None:
    assert backchannel_only(text) is only


@pytest.mark.parametrize(
    ("text", "emotion"),
    [
        ("我要投诉你们", "angry"), ("你们不要再打电话了", "angry"), ("我很着急", "anxious"),
        ("我没有钱还", "sad"), ("非常满意", "happy"), ("可以", "neutral"), ("不谢谢", "neutral"),
    ],
)  # fmt: skip
def test_emotions(text: str, emotion: str) -> None:
    assert emotion_of(text) == emotion


def test_a_playbook_adds_words_to_emotions() -> None:
    assert emotion_of("气死我了", {"angry": ["气死"]}) == "angry"
    assert emotion_of("好开心啊", {"angry": ["气死"]}) == "happy"


def test_sounds() -> None:
    assert normalise("ＡＢ，价格 高！") == "ab价格高"
    assert likeness(syllables("在说"), syllables("再说")) == 1.0
    assert difference("zhong", "zong") == difference("xin", "xing") == 0.25
    assert difference("ma", "pi") == 1.0
    assert found_in(syllables("太贵"), syllables("你们太贵了")) == (1.0, 4)
    assert likeness((), ()) == 0.0

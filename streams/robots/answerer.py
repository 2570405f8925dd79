"""Who answered: a person, a machine, a call-screening assistant, or a carrier's announcement.

The words decide where the recogniser knows them; the edge's timing and tones (`amd` on
`calls.events`) decide where it does not. Pure: rules over what is on the log, for Mandarin and
English. The verdict is a turn of `dialogue.turns`, because it is the robot's decision and goes with
what the robot does about it; the evidence stays on `calls.events`, where the edge saw it.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from ringlog.dispositions import INVALID_NUMBER, MACHINE, SCREENED, UNREACHABLE
from streams.robots.phonetic import normalise

Answerer = Literal["human", "machine", "screening", "announcement", "recording", "unsure"]
"""`recording`: the first words are a machine's or a carrier's; which, the next ones tell."""


class Judgement(NamedTuple):
    """Who answered. `disposition`: what the call came to if the robot hangs up on it."""

    who: Answerer
    disposition: str | None = None


HUMAN: Final = Judgement("human")
UNSURE: Final = Judgement("unsure")
RECORDING: Final = Judgement("recording")

_SCREENING = re.compile(
    r"(?:智能|语音|电话|来电|通话|接听|私人|AI|ai)(?:助理|助手|秘书|管家)"
    r"|请.{0,6}(?:说出|报上|说明|告诉我?|告知).{0,3}[您你]的?.{0,4}"
    r"(?:姓名|名字|来意|身份|目的|事由|公司|是谁)|以?及?为什么(?:打来|来电)"
    r"|机主.{0,24}(?:转[告达]|传[话达]|带话|记录|什么事)"
    r"|screening|(?:say|state|record|tellme|give)(?:me)?yourname(?!and(?:phone)?number)"
    r"|reasonfor(?:your)?call|whyyou(?:re|are)calling|announceyourself|stayontheline"
    r"|see(?:if|whether)(?:they|he|she|thisperson)"
    r"|trytoconnectyou"
)
_TONE = r"(?:[滴嘀哔嘟]|提示音|信号音|长音|铃声)"
_MACHINE = re.compile(
    rf"{_TONE}.{{0,3}}声?(?:后|之后|以后|响)|听到.{{0,3}}{_TONE}|(?:语音|留言)信箱|录音电话"
    r"|[请需要].{0,6}留(?:言|下)|留[下个].{0,3}(?:口信|言)|[给跟].{0,3}留[言话]|可以留言"
    r"|按提示留言|留言请|[给跟对](?:主人|机主|他|她|我).{0,2}[说留]句?话"
    r"|(?:leave|record)(?:us|me|him|her|a|your|the){0,3}(?:brief|short|detailed)?"
    r"(?:message|name|number|details|contact)"
    r"|(?:after|for|at)(?:the|this)(?:tone|beep|signal)|youknowwhattodo"
    r"|voicemail|voicemessag|mailbox|answeringmachine|(?:youve|youhave)reached"
    r"|missedyourcall|c(?:an|annot|ant)t?(?:come|get)tothephone|getbacktoyou"
)
_CALLED = r"(?:[您你]?所?(?:拨打|拨叫|呼叫|拨)的?(?:电话|号码|用户|客户|机主)|该(?:用户|号码)|对方)"
_INVALID = re.compile(
    rf"{_CALLED}.{{0,6}}(?:空号|停机|不存在|停止|暂停|已?过期|有误|已?注销|改号)|是空号|号码不存在"
    r"|notinservice|outofservice(?!area)|disconnected|beenchanged|cannotbecompleted|cantbecompleted"
    r"|(?:number|code)isnotvalid|invalidnumber|doesnotexist|nolongerinuse|checkthenumber"
)
_UNREACHABLE = re.compile(
    rf"{_CALLED}.{{0,8}}(?:关机|无法接[通听]|服务区|通话中|无人接听|[正很]忙|受限|暂时|不便|未开机"
    r"|[无没]有?应答|拒接|限制|转移)|(?:用户|机主)(?:已关机|不在服务区)|请.{0,6}再拨"
    r"|转移?呼叫失败|网络(?:正?忙|繁忙|故障)"
    r"|switchedoff|poweredoff|turnedoff|not(?:be)?reach(?:able|ed)|out(?:of|side)(?:the)?"
    r"(?:service|coverage|range)"
    r"|(?:person|party|customer|subscriber|user).{0,16}(?:notanswering|(?:un|not)available)"
    r"|(?:lines?|circuits?|network|number|subscriber|customer|party).{0,16}(?:busy|engaged|congest)"
    r"|(?:please|hangupand).{0,6}try(?:your)?(?:call)?(?:again|later)"
)
_BEGINS = re.compile(
    r"^(?:[您你]好|对不起|很?抱歉|请注意)*(?:"
    r"[您你]所?(?:拨打|拨叫|呼叫)(?!错)|该(?:用户|号码|客户)|机主|(?:语音|留言)(?:信箱|服务)|如需留言"
    r"|(?:我|这里)?是?.{0,4}(?:自动|语音|智能)(?:应答|答录|接听|留言|总机|服务))"
    r"|^(?:hello|hi|weresorry|wearesorry|sorry|imsorry)*(?:you(?:ve|have)?reached"
    r"|the(?:person|number|customer|subscriber|user|party|mobile|cellular|wireless|mailbox)"
    r"(?!isforyou)|yourcall(?:is|has|could|can)|yourparty|all(?:our)?(?:lines|circuits)"
    r"|this(?:phone|mobile)?number|callsto|thisisa(?:n?automat|recorded)|noone(?:is|can))"
)
"""First words that no person answers with."""

_ASKS = re.compile(
    r"哪位|谁[啊呀]?|什么事|怎么了|干嘛|哪里|请讲|[你您]说|听得|听不|听到|说话|^喂"
    r"|whois|whos|speaking|canyouhear|whatdoyouwant|howcanihelp"
)
"""Words with which a person turns to whoever calls."""

_TONES: Final[dict[str, Judgement]] = {
    "sit_intercept": Judgement("announcement", INVALID_NUMBER),
    "sit_vacant": Judgement("announcement", INVALID_NUMBER),
    "sit_other": Judgement("announcement", UNREACHABLE),
    "busy": Judgement("announcement", UNREACHABLE),
}

OPENING_MS: Final = 30_000
"""Words tell who answered for this long; later a person may speak of mailboxes."""

HOLD_MS: Final = 2_000
"""How long the first prompt of a gated call waits for a sign of a person, after the answer."""

TALK_MS: Final = 6_000
"""The same while the other side talks on: nobody listens who talks."""

LONGEST_TEXT: Final = 400
"""Characters that are looked at: a recording says what it is before that."""


def verdict_of_words(text: str) -> Judgement | None:
    """What the words say for certain; None where a person may have said them.

    >>> verdict_of_words("您拨打的号码是空号"), verdict_of_words("喂，哪位")
    (Judgement(who='announcement', disposition='invalid_number'), None)
    """
    plain = normalise(text[:LONGEST_TEXT]).lower()
    if _SCREENING.search(plain):
        return Judgement("screening", SCREENED)
    if _INVALID.search(plain):
        return Judgement("announcement", INVALID_NUMBER)
    if _MACHINE.search(plain):
        return Judgement("machine", MACHINE)
    if _UNREACHABLE.search(plain):
        return Judgement("announcement", UNREACHABLE)
    return None


def begins_as_recording(text: str) -> bool:
    """Whether the first words are none that a person answers with, nor asks anything.

    >>> begins_as_recording("您好，您所拨打"), begins_as_recording("您好，您哪位")
    (True, False)
    """
    plain = normalise(text[:LONGEST_TEXT]).lower()
    return bool(_BEGINS.search(plain)) and not _ASKS.search(plain)


def verdict_of(heard: Iterable[str], text: str) -> Judgement:
    """What all evidence so far comes to: labels of the edge in their order, and the words."""
    labels = list(heard)
    for label in labels:
        if label in _TONES:
            return _TONES[label]
    if (said := verdict_of_words(text)) is not None:
        return said
    beeped = "beep" in labels and "human" not in labels
    if "machine" in labels or beeped:
        plain = normalise(text[:LONGEST_TEXT]).lower()
        # Somebody who asks us something is a person, however long they talk.
        return HUMAN if _ASKS.search(plain) else Judgement("machine", MACHINE)
    if begins_as_recording(text):
        return RECORDING
    return HUMAN if "human" in labels or "pause" in labels else UNSURE


def opens(heard: Iterable[str], verdict: Judgement, waited_ms: int) -> bool:
    """Whether a prompt that waits for a person is said now; `waited_ms` is since the answer."""
    if verdict.who != "unsure":
        return verdict.who == "human"
    labels = set(heard)
    if "talks" in labels:
        return waited_ms >= TALK_MS
    return bool(labels & {"unsure", "silence"}) or waited_ms >= HOLD_MS

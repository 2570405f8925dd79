"""How well words prove a meaning that cannot be undone:

`clear`, `vague` or not at all. The robot acts upon `clear` at once and asks back about `vague`.
Rules for Mandarin, the same in every playbook; a playbook's own keywords can only make the robot
ask back.
"""

import re
from collections.abc import Callable
from typing import Literal

from streams.robots.speech_acts import act_of, acts_of

Evidence = Literal["clear", "vague"]

# -- do not call again

_NOT = r"(?:不要|别|不许|不准|请勿|勿|停止)"
_NEED_NOT = r"(?:不用|不必|甭|不需要)"
_TO_ME = r"(?:[给跟对往向](?:我们|我|咱|这个?号码?|这个?手机|这里|这边|家里))"
_CALL = (
    r"(?:打(?![折断算开听印包针仗卡扮搅招扰车字游球牌架官麻人孩岔]|[他她])|拨|来电|联系|联络|"
    r"骚扰|推销)"
)
_STOP = re.compile(
    rf"{_NOT}(?:[再在]|老|总|一直|天天)+{_TO_ME}?[再在来]?{_CALL}"
    rf"|{_NOT}{_TO_ME}[再在]?{_CALL}"
    rf"|{_NOT}打(?:[了啦]|电话|来|过来|给我)"
    rf"|{_NOT}(?:联系|联络|骚扰)我|{_NOT}拨?打我的?(?:电话|手机|号码)"
    r"|停止(?:拨打|来电|骚扰|推销|联系)"
    rf"|(?:以后|今后|永远).{{0,3}}{_NOT}[再在]?找我"
    rf"|(?:以后|今后|永远).{{0,3}}(?:{_NOT}|{_NEED_NOT})[再在]?{_TO_ME}?{_CALL}"
    r"|不想[再在].{0,2}(?:接到|收到|听到).{0,6}(?:电话|来电)"
)
_DELETE = re.compile(
    r"(?:号码?|电话|名单|信息|资料|我).{0,8}(?:删|移除|去掉|拿掉|注销|拉黑|[拉加进入]黑名单)|拉黑我"
)
_DELETES_ELSE = re.compile(
    r"我.{0,3}把你|你们?的(?:号|电话)|[没未不][有用要想会]?再?[删移拉]|删.{0,2}不"
)
_LIMITED = re.compile(
    r"现在|今天|今晚|这会儿?|这时候|上班|上课|晚上|中午|早上|半夜|这么[早晚]|先|暂时|周末|这几天|最近|"
    r"开会|开车|在忙|睡觉|休息|吃饭|短信|微信|另外?一?个|换个|别的|座机|我不[要用]打|(?:删|拉黑)[掉除]?了(?!吧)"
)
"""Words that may mean another time, channel or number instead of no call at all."""
_TIRED = re.compile(
    rf"(?:{_NOT}|{_NEED_NOT})[再在]?来?(?:打扰|烦|打$)|{_NEED_NOT}[再在]?{_TO_ME}?{_CALL}|少打(?!几?折)|"
    r"烦不烦|[天老总]天?打|一直打|骗子|再打.{0,4}(?:报警|投诉|试试)|有完没完|又是你们"
)


def _opt_out(text: str) -> Evidence | None:
    found: Evidence | None = None
    for act in acts_of(text):
        stop = _STOP.search(act.text)
        deletes = _DELETE.search(act.text) and not _DELETES_ELSE.search(act.text)
        if not (stop or deletes):
            tired = _TIRED.search(act.text)
            if (
                tired
                and not act.denied
                and ("不" in tired[0] or "没" in tired[0] or not act.question)
            ):
                found = "vague"
            continue
        if act.denied and not act.text.endswith("吗"):
            continue
        asks = act.question and not act.request
        doubtful = asks or act.condition or act.reported or act.denied or act.hedged or act.others
        if doubtful or _LIMITED.search(act.text):
            found = "vague"
        else:
            return "clear"
    return found


# -- I will pay

_OTHER_HAI = r"(?![没是有在要不能会想得需早差行好去来看继个书价一])"
_PAY = re.compile(
    r"还款(?![日码]|能力|计划|方式|短信|提醒|通知|的事|电话)|还清(?![楚醒])|还上(?![班学课网个次海午])|"
    r"还钱(?!的事)|还掉(?!头)|还完(?![好全])|付款|付清|缴清|缴费|交钱|结清|转(?:账|过去|给你)|打过去|存进去"
    rf"|(?:[就会去来再先]|马上|立刻|立即|现在|尽快|一定|按时|[天号前后午晚早日一二三四五六底])还{_OTHER_HAI}"
    r"(?![清上掉完款])"
)
_COMMITS = re.compile(
    r"[今明后][天早晚]|[号日]|周|星期|礼拜|月底|马上|立刻|立即|现在|这就|尽快|按时|准时|一定|保证|"
    r"肯定|会|就|[之以]?前|小时"
)
_NOT_PAY = re.compile(
    r"[不没](?!问题|错)[^，]{0,5}[还付缴交结转]|[还付缴交]不|[款清上钱]不了|没法|没办法|拒绝|不可能|没钱|没有钱"
)
_NO_LONGER = re.compile(r"已经|早就|差一?点|[还付缴交结](?:过|[清完上]了)")


def _promise(text: str) -> Evidence | None:
    act = act_of(text)
    if not _PAY.search(act.text) or _NOT_PAY.search(act.text) or _NO_LONGER.search(act.text):
        return None
    if not act.binds or act.others:
        return None
    return "clear" if act.firm and _COMMITS.search(act.text) else "vague"


# -- I have paid

_PAID = re.compile(
    r"(?:已经|早就?|刚[刚才]?|都|昨天|前天|上周|上个?月|上星期|早上|今天|之前|前几天|钱)[^不没]{0,6}?"
    r"(?:(?:还|付|缴)(?:款|钱|费)?|交(?:款|钱|费)|结(?=清)|转(?:账|款|钱))"
    r"(?:清(?![楚醒])|过去|过(?![节年分来])|完(?![好全])|上(?![班学课网个次海午])|掉(?!头)|了)"
    r"|[还付缴结](?:清|完|过|上)了|转过去了"
)
_AFTER_PAID = re.compile(r"[了的啊呀哦嘛啦]*(?:给?你们?)?[了的啊呀哦嘛啦]*$")
_SAYS_PAID = re.compile(r"^我?(?:还款?|付款?|交|缴)了$")
_LATER = re.compile(r"[明后]天|下个?[周月]|以后|再|差一?点|快要?|几乎|[会要]还|了[就才]|等")
_PARTLY = re.compile(r"部分|一半|上个?月的|上一期|[一二两三四五六七八九十\d][期次笔]")


def _paid(text: str) -> Evidence | None:
    whole = act_of(text)
    if _SAYS_PAID.search(whole.text):
        return "vague"
    if whole.condition or whole.reported or whole.others:
        return None
    for act in acts_of(text):
        paid = _PAID.search(act.text)
        if not paid or _LATER.search(act.text):
            continue
        if re.search(r"不是.*吗$", act.text):
            return "vague"  # "have I not paid already?" is half a question
        if not act.binds or whole.question or re.search(r"[不没未]", act.text):
            continue
        whole_debt = _AFTER_PAID.match(act.text, paid.end()) and not _PARTLY.search(act.text)
        return "clear" if whole_debt and not act.hedged else "vague"
    return None


_RULES: dict[str, Callable[[str], Evidence | None]] = {
    "opt_out": _opt_out, "promise_to_pay": _promise, "already_paid": _paid,
}  # fmt: skip


def evidence_of(meaning: str, text: str) -> Evidence | None:
    """How well a text proves a meaning that cannot be undone; None: not at all.

    >>> evidence_of("opt_out", "不要再打了"), evidence_of("opt_out", "现在别打了")
    ('clear', 'vague')
    """
    return _RULES[meaning](text)


# -- yes

_FILLERS = r"(?:嗯|啊|哦|喂|哎|诶|唉|那个|你好|您好|对|是|的|没错|就)*"
_SELF = r"(?:是我|我是|我就是|就是我|我?是?本人|正是)本?人?"
_TAIL = (
    r"(?:有?什么事儿?|怎么了|干嘛|有事吗|[你您]是?哪位|[你您]是谁|[你您]?请?[讲说]吧?|[你您]好|"
    r"[啊呀啦哈嘛])*"
)
_IDENTITY = re.compile(
    rf"{_FILLERS}(?:(?:{_SELF})+{_TAIL}|(?:[对是]的|对|没错|是[啊呀])(?![方了]){_TAIL}|是)"
)
_AGREES = re.compile(
    r"(?:嗯|啊|哦|对|是|好|行|的|没错|可以|确定|确认|当然|就是|这样|这个意思|呀|吧)+"
)
_YES = re.compile(r"[对是好行]|没错|可以|确定|确认|当然")


def confirms_identity(text: str) -> bool:
    """Whether the answer to "are you so-and-so?" can only be a yes of that very person.

    A sound (嗯), a greeting, a question or another person's words do not count.
    """
    acts = acts_of(text)
    if not acts or any(a.others or a.condition or a.hedged for a in acts):
        return False
    if any(re.search(r"不|没(?!错)|打错", a.text) for a in acts):
        return False
    return any(_IDENTITY.fullmatch(act.text) for act in acts)


def agrees(text: str) -> bool:
    """Whether the answer to a confirmation question is yes and nothing else."""
    plain = act_of(text)
    return bool(not plain.question and _YES.search(plain.text) and _AGREES.fullmatch(plain.text))


# -- nobody speaks to us

_ANNOUNCEMENT = re.compile(
    r"您?(?:所?拨打|呼叫)的?(?:电话|号码|用户)|(?:用户|电话|号码).{0,4}(?:已?关机|已?停机|空号|正在通话|"
    r"无法接通|不在服务区|暂时无人接听)|请稍后再拨|语音信箱|(?:嘀|滴)的?一?声后|留言请?按|请.{0,4}留言"
)


def is_announcement(text: str) -> bool:
    """Whether a carrier's or a mailbox's recording speaks (您拨打的电话已关机)."""
    return bool(_ANNOUNCEMENT.search(act_of(text).text))

"""Openings of calls with labels: what people, machines, assistants and carriers say.

The rules of `streams.robots.answerer` and `ingest.sound.answer` were written with `WRITTEN_FROM`;
later ones with `JUDGED_ON`, too, on which the first had been judged. `HELD_OUT` was set down before
the later ones, and is what the figures are about. No two share a greeting or a voice.
"""

from typing import Final, Literal, NamedTuple

Who = Literal["human", "machine", "screening", "announcement"]


class Opening(NamedTuple):
    """What is heard after an answer. `beep_hz`: the tone after it, 0 for none."""

    who: Who
    language: Literal["zh", "en"]
    text: str
    beep_hz: int = 0


WRITTEN_FROM: Final = (
    Opening("human", "zh", "喂"),
    Opening("human", "zh", "喂你好"),
    Opening("human", "zh", "你好，哪位"),
    Opening("human", "zh", "喂，请问你找谁"),
    Opening("human", "zh", "嗯，你说"),
    Opening("human", "zh", "您好，请讲"),
    Opening("human", "zh", "喂喂喂，听得到吗"),
    Opening("human", "en", "Hello?"),
    Opening("human", "en", "Hello, who is this?"),
    Opening("human", "en", "Yes, speaking."),
    Opening("machine", "zh", "您好，我现在不方便接电话，请在滴声后留言", 1000),
    Opening("machine", "zh", "您拨打的用户暂时无法接通，请在提示音后留言，挂机即可", 1400),
    Opening("machine", "zh", "您好，这里是李明的语音信箱，请留言", 800),
    Opening("machine", "zh", "对不起，我现在不在，请留下您的姓名和电话，我会尽快给您回电", 1000),
    Opening("machine", "en", "Hi, you've reached John. I can't come to the phone right now. Please "
            "leave a message after the tone.", 1000),
    Opening("machine", "en", "The person you are calling is not available. At the tone, please "
            "record your message.", 440),
    Opening("screening", "zh", "您好，我是机主的智能助理，请说出您的姓名和来意"),
    Opening("screening", "en", "Hi, the person you are calling is using a screening service. "
            "Please say your name and why you are calling."),
    Opening("announcement", "zh", "您拨打的电话已关机，请稍后再拨"),
    Opening("announcement", "zh", "您拨打的号码是空号，请核对后再拨"),
    Opening("announcement", "zh", "您拨打的用户正在通话中，请稍后再拨"),
    Opening("announcement", "en", "The number you have dialed is not in service. Please check the "
            "number and dial again."),
    Opening("human", "zh", "哎，谁呀"),
    Opening("human", "zh", "你好，我是陈先生"),
    Opening("human", "zh", "喂，哪里啊"),
    Opening("human", "zh", "啊？什么事"),
    Opening("human", "zh", "喂，你好，请问有什么事情吗"),
    Opening("human", "zh", "说话"),
    Opening("human", "zh", "喂，我在开会，等一下再打"),
    Opening("human", "zh", "喂，您是哪位啊，我这边听不太清楚"),
    Opening("human", "zh", "你好"),
    Opening("human", "zh", "喂，怎么了"),
    Opening("human", "en", "Hi, this is Tom."),
    Opening("human", "en", "Good morning, who's calling please?"),
    Opening("human", "en", "Yeah?"),
    Opening("human", "en", "Hello, hello, can you hear me?"),
    Opening("machine", "zh", "你好，我是王芳，我现在正在开会，有事请听到嘀的一声后留言", 900),
    Opening("machine", "zh", "欢迎致电，目前无人接听，请在哔声之后留下口信", 1200),
    Opening("machine", "zh", "您好，您已接通移动留言信箱，请按提示留言", 700),
    Opening("machine", "zh", "机主不方便接听，您可以给他留言，结束请挂机", 1400),
    Opening("machine", "zh", "哈喽，我是小张，没接到电话肯定在忙，留个言我会打给你", 1000),
    Opening("machine", "en", "You have reached the voicemail box of Mary Smith. To leave a "
            "message, wait for the beep.", 850),
    Opening("machine", "en", "Sorry we missed your call. Leave your name and number and we will "
            "get back to you.", 2000),
    Opening("machine", "en", "Your call has been forwarded to an automated voice messaging "
            "system.", 1400),
    Opening("screening", "zh", "您好，机主正忙，我是他的电话助手，请问您是哪位，有什么事情"
            "需要转告"),
    Opening("screening", "zh", "我是来电助理，请告诉我您的身份和来电目的"),
    Opening("screening", "en", "Go ahead and say your name, and the reason for your call, and I "
            "will see if they are available."),
    Opening("human", "zh", "他出去了，需要我转告他吗"),
    Opening("human", "zh", "你给我留个电话，我等下回你"),
    Opening("human", "en", "He's not in, can you call later?"),
    Opening("human", "en", "Front desk, who may I say is calling?"),
    Opening("announcement", "zh", "您所呼叫的用户不在服务区"),
    Opening("announcement", "zh", "您拨叫的号码不存在，请查证后再拨"),
    Opening("announcement", "zh", "您拨打的电话已停机"),
    Opening("announcement", "zh", "对不起，您拨打的用户暂时无人接听"),
    Opening("announcement", "zh", "您好，您呼叫的号码已暂停服务"),
    Opening("announcement", "en", "The customer you are calling has switched off the phone."),
    Opening("announcement", "en", "We're sorry, your call cannot be completed as dialed."),
    Opening("announcement", "en", "The subscriber you have called is not reachable."),
    Opening("human", "zh", "喂，您好"),
    Opening("human", "zh", "你好，请问是哪里"),
    Opening("human", "zh", "喂，我是，你讲"),
    Opening("human", "zh", "哪位"),
    Opening("human", "zh", "你好你好，有什么可以帮你的吗"),
    Opening("human", "zh", "在的，什么情况"),
    Opening("human", "zh", "喂，你打错了吧，我不认识你"),
    Opening("human", "zh", "喂，我现在在开车不太方便，你快点说"),
    Opening("human", "en", "Hello, Smith residence."),
    Opening("human", "en", "Yes?"),
    Opening("human", "en", "Hey, sorry, I was just looking for my phone, what's up?"),
    Opening("human", "en", "Speaking. What is this about?"),
    Opening("machine", "zh", "我是刘洋，现在没法接你的电话，有什么事听到提示音以后说吧", 1050),
    Opening("machine", "zh", "这里是张先生的录音电话，听到长音后请讲话，我回来以后会联系您", 620),
    Opening("machine", "zh", "您呼叫的用户没有应答，如需留言请在嘟声后开始", 950),
    Opening("machine", "zh", "主人暂时走开了，给主人说句话吧", 1600),
    Opening("machine", "en", "This is Anna. I'm away from my desk. Please leave me your details "
            "and I'll call you back.", 1000),
    Opening("machine", "en", "The customer is unavailable. Please speak after the signal.", 1850),
    Opening("machine", "en", "Hi, it's Dave, you know what to do.", 780),
    Opening("screening", "zh", "您好，我是小艺，机主现在不方便，我可以帮您传话，请问您找他"
            "什么事"),
    Opening("screening", "zh", "请在提示后说明您是谁以及为什么打来"),
    Opening("screening", "en", "Hi. If you record your name and reason for calling, I'll see if "
            "this person is available."),
    Opening("screening", "en", "Please announce yourself, and I will try to connect you."),
    Opening("announcement", "zh", "您好，您所拨打的号码已过期"),
    Opening("announcement", "zh", "对方已关机，请您过一会儿再拨打"),
    Opening("announcement", "zh", "您拨打的用户已设置来电拒接"),
    Opening("announcement", "zh", "您好，该用户不在服务区，请稍后再试"),
    Opening("announcement", "en", "The number you are trying to reach has been disconnected."),
    Opening("announcement", "en", "All lines are currently engaged. Please hang up and try "
            "later."),
    Opening("announcement", "en", "The mobile phone you are calling is turned off or out of "
            "range."),
)  # fmt: skip
JUDGED_ON: Final = (
    Opening("human", "zh", "喂，哎，听到了"),
    Opening("human", "zh", "你好，请问有事吗"),
    Opening("human", "zh", "谁呀这是"),
    Opening("human", "zh", "嗯，对，是我"),
    Opening("human", "zh", "您好，这里是前台"),
    Opening("human", "zh", "喂，我在地铁上，信号不好，你大声一点"),
    Opening("human", "zh", "哦，我妈在洗澡，你等会儿再打来吧"),
    Opening("human", "zh", "你好，小李不在，有什么事跟我说也行"),
    Opening("human", "zh", "喂，又是推销的吧"),
    Opening("human", "en", "This is Karen, how may I help you?"),
    Opening("human", "en", "Uh, hello?"),
    Opening("human", "en", "Hold on a second, let me turn the radio down."),
    Opening("human", "en", "Yep, go ahead."),
    Opening("human", "en", "He's busy right now, do you want to leave something for him?"),
    Opening("machine", "zh", "你好，我是老赵，手机不在身边，麻烦听到哔的一声后告诉我有什么事", 980),
    Opening("machine", "zh", "感谢您的来电，现在是下班时间，请留下您的联系方式，我们会尽快"
            "与您联系", 1250),
    Opening("machine", "zh", "语音留言服务，录音时间为两分钟，请开始录音", 800),
    Opening("machine", "zh", "嗨，我不在家，你懂的，滴声之后随便说点什么", 1500),
    Opening("machine", "en", "You've reached the Johnsons. We're out, so talk to the "
            "machine.", 900),
    Opening("machine", "en", "Greetings. Nobody is home. Kindly leave word after the beep.", 1700),
    Opening("machine", "en", "The mailbox of five five five one two is ready to take your "
            "message.", 1100),
    Opening("machine", "en", "I'm on vacation until Monday. Text me, or leave a voice mail.", 1000),
    Opening("screening", "zh", "您好，我是对方的智能接听机器人，请问您来电有什么事情"),
    Opening("screening", "zh", "机主开启了来电代接，请说明您的姓名和事由"),
    Opening("screening", "en", "The person you're calling can't talk right now. Please say who you "
            "are and what it's about."),
    Opening("screening", "en", "Hello. Before we try to connect you, please say your name after "
            "the prompt."),
    Opening("announcement", "zh", "您好，您拨打的号码暂时无法接通"),
    Opening("announcement", "zh", "很抱歉，对方正在通话，请不要挂机"),
    Opening("announcement", "zh", "您拨打的号码有误，请查询后再拨"),
    Opening("announcement", "zh", "您好，您所拨打的用户已启用呼入限制业务"),
    Opening("announcement", "zh", "号码已注销"),
    Opening("announcement", "en", "The wireless customer you are trying to reach is unavailable."),
    Opening("announcement", "en", "Your call could not be completed. Please check the number."),
    Opening("announcement", "en", "This phone number has no service at this time."),
)  # fmt: skip
HELD_OUT: Final = (
    Opening("human", "zh", "喂？"),
    Opening("human", "zh", "唉，你好"),
    Opening("human", "zh", "喂，我在，你讲吧"),
    Opening("human", "zh", "喂，我现在不方便，你晚点再打过来"),
    Opening("human", "zh", "不好意思啊，我在开会，回头给你回过去"),
    Opening("human", "zh", "你拨错号码了吧"),
    Opening("human", "zh", "我是他爱人，他手机落家里了"),
    Opening("human", "zh", "您好，人事部，请讲"),
    Opening("human", "zh", "您好，这里是万达物业，有什么需要帮忙的"),
    Opening("human", "zh", "喂，老张啊，我正想找你呢"),
    Opening("human", "zh", "对不起，我听不清楚，你再说一遍"),
    Opening("human", "zh", "哎呀，刚才没接到，你是哪个公司的"),
    Opening("human", "zh", "你们怎么又打电话来了，我都说了不要"),
    Opening("human", "zh", "喂，快递放门口就行，我不在家"),
    Opening("human", "en", "Hello there."),
    Opening("human", "en", "Good afternoon, Miller's Hardware, Jo speaking."),
    Opening("human", "en", "Sorry, I can't talk right now, I'm driving."),
    Opening("human", "en", "Yeah, hi, who is it?"),
    Opening("human", "en", "You have the wrong number."),
    Opening("human", "en", "Hi, I was expecting your call."),
    Opening("machine", "zh", "您好，您呼叫的客户暂时不方便接听，如需留言请在嘀声后开始", 1000),
    Opening("machine", "zh", "你好，我这会儿接不了电话，请留言，谢谢", 900),
    Opening("machine", "zh", "您好，欢迎致电晨光诊所，我们的上班时间是早上九点到下午五点，"
            "请留下您的姓名和号码", 1150),
    Opening("machine", "zh", "大家好，我是阿杰，我可能在飞机上，听到提示音就说吧", 1300),
    Opening("machine", "zh", "这是自动答录机，主人出门旅行去了，有话请留在里面", 750),
    Opening("machine", "zh", "对不起，您拨打的电话无人接听，请在提示音之后录制留言", 1400),
    Opening("machine", "en", "Hello, you have reached the office of Doctor Lee. The office is "
            "closed.", 950),
    Opening("machine", "en", "Hey, it's Mike. I'm probably out surfing. Do your thing at the "
            "beep.", 1020),
    Opening("machine", "en", "Your call is being answered by an automatic system. Record your "
            "message now.", 1500),
    Opening("machine", "en", "Thank you for calling. No one is available to take your call.", 880),
    Opening("screening", "zh", "您好，我是通话助手小布，机主暂时没空，您有什么事可以跟我说"),
    Opening("screening", "zh", "你好，我是电话秘书，请问怎么称呼您，找机主有什么事"),
    Opening("screening", "zh", "在接通之前，请先说一下您的姓名和来电原因"),
    Opening("screening", "en", "Hi, this is an assistant answering for the person you called. May "
            "I ask who is calling?"),
    Opening("screening", "en", "The person you have dialed screens unknown calls. State your name "
            "and purpose."),
    Opening("announcement", "zh", "您好，您拨打的电话正在通话中，请稍后再拨"),
    Opening("announcement", "zh", "您所拨打的号码暂停服务"),
    Opening("announcement", "zh", "对不起，您所拨打的号码不存在"),
    Opening("announcement", "zh", "您拨叫的用户线路正忙"),
    Opening("announcement", "zh", "您呼叫的电话不在服务区内，请稍后再试"),
    Opening("announcement", "zh", "您好，该用户已停机"),
    Opening("announcement", "zh", "您的余额不足，请充值后再拨打"),
    Opening("announcement", "en", "The number you dialed has been changed to an unlisted number."),
    Opening("announcement", "en", "We are sorry, all circuits are busy now."),
    Opening("announcement", "en", "The cellular customer you have called has left the service "
            "area."),
    Opening("announcement", "en", "Calls to this number are restricted."),
)  # fmt: skip

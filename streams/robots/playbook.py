"""The shape of a playbook: nodes, prompts, wordings, intents, transitions.

`streams.robots.loading` reads one from YAML and checks what no shape can say (targets, reach).
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from streams.robots.meanings import Meaning

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""Lower-case letters, digits and underscores, beginning with a letter."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
BargeIn = Literal["never", "speech", "words"]
Disposition = Literal[
    "completed", "opted_out", "transferred", "interested", "callback", "no_answer", "busy",
    "failed", "abandoned",
]  # fmt: skip


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


Names = Annotated[list[Name], BeforeValidator(_as_list)]
Words = Annotated[list[Text], BeforeValidator(_as_list)]


class Model(BaseModel):
    """Strict: no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Condition(Model):
    """What a customer's profile must be; every key that is there must hold."""

    level: Words = Field(default_factory=list, description="One of these levels")
    tags: Words = Field(default_factory=list, description="At least one of these tags")
    last_emotion: Words = Field(default_factory=list)
    purchases_at_least: Annotated[int, Field(ge=0)] | None = None
    answered_calls_at_least: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> "Condition":
        if not self.model_fields_set:
            raise ValueError("a condition without keys; remove it or name what must hold")
        return self


Conditions = Annotated[list[Condition], BeforeValidator(_as_list)]


class Wording(Model):
    """One way to say a prompt, for the customers that fit one of `when` (none: for all)."""

    name: Name
    when: Conditions = Field(default_factory=list)
    text: Text | None = None
    variants: dict[Name, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_kind(self) -> "Wording":
        if (self.text is None) == (not self.variants):
            raise ValueError("a wording has either `text` or `variants`")
        return self

    @property
    def texts(self) -> dict[str, str]:
        """Text by variant: the wording's name, or `wording/variant` where it has several."""
        if self.text is not None:
            return {self.name: self.text}
        return {f"{self.name}/{key}": text for key, text in self.variants.items()}


class Prompt(Model):
    """What the robot says in one breath, and how a customer may cut in.

    `{name:amount}`, `{name:date}` and `{name:digits}` in a text are attributes of the customer's
    profile, spoken piece by piece. A customer without one of them hears `otherwise`.
    """

    barge_in: BargeIn = "speech"
    discloses: bool = Field(
        False,
        description="It tells of a debt: played only after a confirmed identity",
    )
    turn_silence_ms: Annotated[int, Field(ge=100, le=5000)] | None = None
    text: Text | None = None
    wordings: list[Wording] = Field(default_factory=list)
    otherwise: Text | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Prompt":
        if (self.text is None) == (not self.wordings):
            raise ValueError("a prompt has either `text` or `wordings`")
        return self

    @property
    def all_wordings(self) -> list[Wording]:
        """Its wordings in order; a plain text is one wording named `normal`."""
        if self.text is not None:
            return [Wording(name="normal", text=self.text)]
        return self.wordings

    @property
    def all_texts(self) -> list[str]:
        """Everything it may say."""
        texts = [text for wording in self.all_wordings for text in wording.texts.values()]
        return texts if self.otherwise is None else [*texts, self.otherwise]


class Intent(Model):
    """What a customer may want, by words and by example utterances."""

    meaning: Meaning | None = Field(
        None, description="The meaning that the code acts on, such as opt_out"
    )
    keywords: Words = Field(default_factory=list)
    examples: Words = Field(default_factory=list)
    negated: Name | None = Field(
        None, description="The intent meant when a keyword is negated: 不 + 方便 is busy"
    )

    @model_validator(mode="after")
    def _not_empty(self) -> "Intent":
        if not self.keywords and not self.examples:
            raise ValueError("an intent needs `keywords` or `examples`")
        return self


class Transition(Model):
    """When all of its conditions hold: where to go, and what to say on the way.

    Without `to` the dialogue stays; `again` repeats the node's own prompt.
    """

    intent: Names = Field(default_factory=list)
    emotion: Names = Field(default_factory=list)
    slot: Name | None = None
    dtmf: Annotated[str, StringConstraints(pattern=r"^[0-9A-D*#]{1,20}$")] | None = None
    silence: bool = False
    otherwise: bool = False
    outcome: Names = Field(default_factory=list, description="The call's outcome so far")
    requires: Literal["identity"] | None = Field(
        None, description="Holds only once the customer has confirmed who they are"
    )
    confirms: Literal["identity"] | None = Field(
        None, description="Holds on a certain yes to the node's question who is speaking"
    )
    ask_back: Meaning | None = Field(
        None, description="Ask whether this was meant, by the prompt under `confirm`"
    )
    to: Name | None = None
    say: Name | None = None
    again: bool = False

    @model_validator(mode="after")
    def _complete(self) -> "Transition":
        if not (self.intent or self.emotion or self.slot or self.dtmf or self.silence
                or self.confirms or self.otherwise):  # fmt: skip
            raise ValueError(
                "a transition needs one of `intent`, `emotion`, `slot`, `dtmf`, `silence`, "
                "`confirms`, `otherwise`"
            )
        if not (self.to or self.say or self.again or self.ask_back):
            raise ValueError("a transition needs one of `to`, `say`, `again`, `ask_back`")
        if self.ask_back and (self.to or self.say or self.again):
            raise ValueError("`ask_back` waits for an answer, so it goes with nothing else")
        if self.to and self.again:
            raise ValueError("`again` stays in the node, so it cannot go with `to`")
        return self


class OutboundMessage(Model):
    """A message by another channel, sent when the node is entered.

    `{name}` in the text is an attribute of the customer's profile. A customer without one of them
    gets `otherwise`; without that, no message.
    """

    channel: Literal["sms", "wechat", "email"] = "sms"
    template: Name
    discloses: bool = Field(False, description="As of a prompt")
    text: Text
    otherwise: Text | None = None


class DigitKeys(Model):
    """Digits that a node asks for: a menu, a number.

    A transition with `dtmf` takes an entry that is just that; any other of `min` to `max` digits
    goes to `to`. All else is invalid: the node asks again, `tries` times, and then goes to `then`.
    """

    max: Annotated[int, Field(ge=1, le=20)] = Field(description="Digits that complete an entry")
    min: Annotated[int, Field(ge=1, le=20)] = 1
    until: Literal["#", "*"] | None = Field(None, description="The key that ends a shorter entry")
    between_ms: Annotated[int, Field(ge=500, le=15_000)] = Field(
        3_000, description="A pause between keys that ends an entry"
    )
    slot: Name | None = Field(None, description="The slot that keeps the digits for `to`")
    to: Name | None = None
    invalid: Name | None = Field(None, description="The prompt before the node asks again")
    tries: Annotated[int, Field(ge=0, le=10)] = 2
    then: Name | None = Field(None, description="After that; by default as where nothing is clear")

    @model_validator(mode="after")
    def _fits(self) -> "DigitKeys":
        if self.min > self.max:
            raise ValueError("`min` is more than `max`")
        if self.slot is not None and self.to is None:
            raise ValueError("`slot` keeps the digits of an entry that goes to `to`")
        return self


class Node(Model):
    """A step of the dialogue: what is said and done on entering it, and what may follow."""

    prompt: Name | None = None
    outcome: Name | None = Field(None, description="The call's outcome, such as opted_out")
    message: OutboundMessage | None = None
    transfer: Text | None = Field(None, description="Where a person takes over")
    hangup: Disposition | None = None
    keys: DigitKeys | None = Field(None, description="Digits that the node asks for")
    next: Name | None = Field(None, description="Go on at once, without waiting for the customer")
    transitions: list[Transition] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_end(self) -> "Node":
        ways = [self.transfer is not None, self.hangup is not None, self.next is not None,
                bool(self.transitions) or self.keys is not None]  # fmt: skip
        if sum(ways) != 1:
            raise ValueError(
                "a node ends in exactly one way: `transitions` and `keys`, `next`, `transfer` or "
                "`hangup`"
            )
        return self

    @property
    def ends(self) -> bool:
        """Whether the robot's part is over after it."""
        return self.transfer is not None or self.hangup is not None


class Fallback(Model):
    """What happens when nothing fits: `prompt` a number of times, then the node `then`."""

    prompt: Name
    max: Annotated[int, Field(ge=0, le=10)] = 2
    then: Name


class Fallbacks(Model):
    """The two ways in which nothing fits."""

    silence: Fallback
    unclear: Fallback


class WhoAnswered(Model):
    """What happens until it is known that a person answered, and when none did.

    A machine without `voicemail`, an announcement, and an assistant without `screening` are hung up
    on.
    """

    hold: bool = Field(
        True,
        description="The first prompt waits for a sign of a person: at most 2 s, and longer only "
        "while the other side talks on",
    )
    voicemail: Name | None = Field(None, description="The prompt left after the beep of a mailbox")
    screening: Name | None = Field(None, description="The prompt said to a screening assistant")


class Playbook(Model):
    """A call script."""

    playbook: Name
    version: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z._-]{1,20}$")]
    title: Text | None = None
    language: Text = "zh-CN"
    voice: Text = "cmn-latn-pinyin"
    start: Name
    answerer: WhoAnswered | None = Field(
        None, description="Tell machines from people; without it, whoever answers is a person"
    )
    silence_ms: Annotated[int, Field(ge=500, le=60_000)] = 5_000
    turn_silence_ms: Annotated[int, Field(ge=100, le=5_000)] = 500
    fallback: Fallbacks
    ignore: Names = Field(
        default_factory=list,
        description="Intents that need no answer while the robot speaks",
    )
    confirm: dict[Meaning, Name] = Field(
        default_factory=dict,
        description="The prompt that asks whether a meaning was meant; 对 confirms it",
    )
    farewell: Name | None = Field(
        None, description="The prompt before the robot hangs up because the task was cancelled"
    )
    emotions: dict[Name, Words] = Field(default_factory=dict, description="More words per emotion")
    intents: dict[Name, Intent]
    prompts: dict[Name, Prompt]
    nodes: dict[Name, Node]
    always: list[Transition] = Field(
        default_factory=list, description="Transitions of every node, after its own"
    )

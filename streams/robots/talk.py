"""One decision in the making: which transition an input takes, and what is said then.

The robot acts on words with irrevocable effects only when they are certain; else it asks back. A
prompt that tells of a debt is played only to a customer who has confirmed who they are.
"""

from dataclasses import replace

from ringlog.audio.prompts import prompt_sha256
from ringlog.dispositions import CANCELLED, MACHINE, SCREENED, VOICEMAIL
from schemas.events.dialogue import REPROMPT
from streams.robots.answerer import begins_as_recording, opens, verdict_of, verdict_of_words
from streams.robots.evidence import agrees, confirms_identity, is_announcement
from streams.robots.inputs import Input, Plan, Scene
from streams.robots.keypad import AHEAD_MS, TYPED, Typed, complete, kept
from streams.robots.meanings import IRREVERSIBLE
from streams.robots.overlap import echoes
from streams.robots.playbook import DigitKeys, Fallback, Node, Transition, WhoAnswered
from streams.robots.profile_values import filled, zone_of
from streams.robots.spoken import fill, has_values
from streams.robots.state import (
    CONFIRMED,
    HELD,
    IDENTITY,
    CallFacts,
    Dialogue,
    playing,
    unheard,
)
from streams.robots.understanding import UNCLEAR, Understanding, backchannel_only
from streams.robots.wording import choose

BEEPS = frozenset({"beep", "ringback", "quiet"})
"""After these a machine records: a low, long beep sounds like a ring-back tone."""

LONGEST_REASON = 120
"""Characters of the words that an opt-out keeps as its reason."""


class Talk:
    """One decision in the making."""

    def __init__(
        self, state: Dialogue, facts: CallFacts, given: Input, scene: Scene, keep: str | None
    ) -> None:
        self.state, self.facts, self.given, self.scene, self.keep = state, facts, given, scene, keep
        self.book = scene.script.playbook
        self.plan = Plan(node=state.node, reason=given.kind)
        self.words = given.text
        """The words that meant it; for a 对, those that were asked back about."""

    def run(self) -> None:
        """Fills the plan."""
        closed = self.facts.ended or self.state.finished
        match self.given.kind:
            case "answered" if self.facts.withdrawn is not None and not self.state.node:
                if not closed:
                    self.withdrawn()
            case "withdrawn":
                if not closed:
                    self.withdrawn()
            case "answered":
                if not closed and not self.state.node:
                    self.answered()
            case "amd" | "answerer":
                if not closed and self.book.answerer is not None:
                    self.who_answered(self.book.answerer)
            case "final":
                self.final(closed)
            case "dtmf":
                if not closed and self.state.node:
                    self.keys_pressed()
            case "silence":
                if closed:
                    return
                if self.state.no_person == MACHINE:
                    self.hang_up(MACHINE)  # no beep came
                elif self.state.held:
                    self.given = replace(self.given, kind="final")  # it ended where it was cut
                    self.final(closed)
                elif (keys := self.keys_of(self.state.node)) is not None and self.state.typed:
                    self.entered(Typed(self.state.typed, ""), keys)  # no further key came
                elif self.state.node:
                    self.silence()
                elif self.book.answerer is not None:
                    self.enter(self.book.start)

    def keys_of(self, name: str) -> DigitKeys | None:
        """The digits that a node asks for."""
        node = self.book.nodes.get(name)
        return None if node is None else node.keys

    def keys_pressed(self) -> None:
        """One key, or several at once where a carrier reports them so."""
        keys = self.keys_of(self.state.node)
        if keys is not None:
            self.cut()
            self.collect(kept(self.state.typed + self.given.digits), keys)
        elif (found := self.transition(None)) is not None:
            self.cut()
            self.typed("")
            self.take(found)
        else:
            self.typed(kept(self.still_meant() + self.given.digits))

    def still_meant(self) -> str:
        """Keys that were typed ahead, unless that was long ago."""
        at = self.state.typed_at
        fresh = at is not None and self.given.occurred_at - at[0] <= AHEAD_MS
        return self.state.typed if fresh else ""

    def collect(self, typed: str, keys: DigitKeys) -> None:
        """Takes keys in a node that asks for some."""
        entry = complete(typed, keys)
        if entry is None:
            self.typed(typed)
        else:
            self.entered(entry, keys)

    def entered(self, entry: Typed, keys: DigitKeys) -> None:
        """An entry is complete: follows it, or asks again."""
        self.typed(entry.rest)
        found = self.transition(None, entry.digits)
        if found is not None:
            self.take(found)
        elif keys.to is not None and len(entry.digits) >= keys.min:
            if keys.slot is not None:
                self.plan.slots = {**self.plan.slots, keys.slot: entry.digits}
            self.enter(keys.to)
        elif self.state.unclear < keys.tries:
            self.plan.outcome = REPROMPT
            self.typed("")
            if keys.invalid is not None:
                self.say(keys.invalid, self.plan.node)
            if (prompt := self.book.nodes[self.plan.node].prompt) is not None:
                self.say(prompt, self.plan.node, self.state.variant)
        else:
            self.enter(keys.then or self.book.fallback.unclear.then)

    def typed(self, keys: str) -> None:
        """Remembers keys, on the turn."""
        self.plan.slots = {**self.plan.slots, TYPED: keys}

    def cut(self) -> None:
        """A key ends what is being said, where it may be cut."""
        said = playing(self.state, self.facts)
        if said is not None and said.barge_in != "never":
            self.plan.steps.append({"kind": "stop", "said": said})

    def answered(self) -> None:
        """Somebody or something answered."""
        if self.book.answerer is not None:
            self.plan.steps.append({"kind": "listen", "reason": "answerer"})
        if self.book.answerer is None or not self.book.answerer.hold:
            self.enter(self.book.start)

    def who_answered(self, rules: WhoAnswered) -> None:
        """The edge heard something of who answered, or the words are no person's."""
        state, facts, by_words = self.state, self.facts, self.given.kind == "answerer"
        if state.no_person is not None:
            waits = state.no_person == MACHINE and rules.voicemail is not None
            if waits and not by_words and self.given.text in BEEPS:
                self.leave_message(rules)
            return
        if state.understood and not by_words:
            return  # a person has talked with us
        verdict = verdict_of(facts.heard, facts.opening)
        if verdict.disposition is None:
            waited_ms = self.given.occurred_at - (facts.answered_at or (0, ""))[0]
            if not state.node and opens(facts.heard, verdict, waited_ms):
                self.enter(self.book.start)
            return
        if (said := playing(state, facts)) is not None:
            self.plan.steps.append({"kind": "stop", "said": said})
        self.plan.outcome = verdict.disposition
        self.plan.node = state.node or self.book.start
        if verdict.who == "machine" and rules.voicemail is not None:
            if self.given.text in BEEPS and not by_words:
                self.leave_message(rules)
        elif verdict.who == "screening" and rules.screening is not None:
            self.plan.node = ""  # the person who comes to the phone is greeted
            self.say(rules.screening, self.book.start)
        else:
            self.hang_up(verdict.disposition)

    def leave_message(self, rules: WhoAnswered) -> None:
        """Speaks to a mailbox, and hangs up."""
        assert rules.voicemail is not None, "asked before"
        self.say(rules.voicemail, self.state.node or self.book.start)
        self.plan.steps[-1]["barge_in"] = "never"
        self.hang_up(VOICEMAIL)

    def withdrawn(self) -> None:
        """The task was cancelled: the robot breaks off, says goodbye and hangs up."""
        if (said := playing(self.state, self.facts)) is not None:
            self.plan.steps.append({"kind": "stop", "said": said})
        if self.book.farewell is not None and self.state.no_person is None:
            self.say(self.book.farewell, self.plan.node or self.book.start)
            self.plan.steps[-1]["barge_in"] = "never"
        self.hang_up(CANCELLED)

    def hang_up(self, disposition: str) -> None:
        """Ends the call, for a reason other than what was said in it."""
        self.plan.outcome = disposition
        self.plan.steps.append({"kind": "hangup", "reason": disposition})

    def final(self, closed: bool) -> None:
        """The customer has said something, or nothing."""
        plan, held = self.plan, self.state.held
        text = self.words = held + self.given.text
        zone = zone_of(self.facts.profile)
        heard = self.scene.understander.understand(text, self.given.occurred_at, zone)
        said = playing(self.state, self.facts)
        machine = self.no_person_speaks or is_announcement(self.given.text)
        if machine or echoes(self.state, self.facts, self.given):
            # No customer speaks: a recording, or our own voice that came back.
            plan.intent, plan.reason = UNCLEAR, UNCLEAR
            return
        plan.intent, plan.confidence = heard.intent, heard.confidence
        plan.emotion, plan.slots = heard.emotion, heard.slots
        if self.given.cut and self.talks_on(heard):
            plan.slots = {HELD: "more"}
            return
        if held:
            plan.slots = {**heard.slots, HELD: ""}
        if not closed and not self.state.node and self.book.answerer is not None:
            if heard.intent:
                self.first_words(heard)
            return
        if closed or not self.state.node or not heard.intent:
            return
        heard = self.answer_to_asked(heard)
        plan.reason = heard.intent
        vague = heard.meaning in IRREVERSIBLE and not heard.certain
        plan.meaning = None if vague else heard.meaning
        ignored = heard.intent in self.book.ignore
        if said is not None and (ignored or backchannel_only(text)):
            return
        transition = self.transition(heard)
        back = self.to_ask_back(heard) if vague else None
        ignored = ignored or (said is not None and said.barge_in == "never")
        if transition is None and back is None and ignored:
            return
        if said is not None and said.barge_in != "never":
            plan.steps.append({"kind": "stop", "said": said})
        if back is not None:
            self.ask_back(back)
        elif transition is not None:
            self.take(transition)
            self.bind()
        else:
            self.fall_back(self.book.fallback.unclear, self.state.unclear)

    @property
    def no_person_speaks(self) -> bool:
        """Whether what is said now is a machine's, by the verdict: an assistant that was told who
        calls may pass the telephone on."""
        told = self.state.no_person
        return told is not None and (told != SCREENED or self.state.finished)

    def talks_on(self, heard: Understanding) -> bool:
        """Whether to wait for the end of what somebody says: an opt-out and a wish for a person
        are answered at once."""
        asked = heard.meaning == "transfer" or (heard.meaning == "opt_out" and heard.certain)
        return bool(self.state.node) and bool(heard.intent) and not asked

    def first_words(self, heard: Understanding) -> None:
        """Somebody spoke while the first prompt waited: a person, unless the words are not.

        Of what they say before the robot has said a word, only an opt-out counts.
        """
        screened = self.state.no_person is not None
        words = self.given.text if screened else self.facts.opening
        if verdict_of_words(words) is not None or begins_as_recording(words):
            return  # that is an input of its own, or the assistant or the recording goes on
        self.plan.reason = heard.intent
        if heard.meaning == "opt_out" and heard.certain:
            self.state = replace(self.state, node=self.book.start)
            self.plan.node, self.plan.meaning = self.book.start, heard.meaning
            self.take(self.transition(heard))
            self.bind()
        else:
            self.enter(self.book.start)

    def answer_to_asked(self, heard: Understanding) -> Understanding:
        """A plain yes to a confirmation question confirms the meaning, with its values."""
        meaning = self.state.asked
        if meaning is None or not agrees(self.given.text):
            return heard
        intent = self.scene.understander.intent_of(meaning)
        if intent is None:
            return heard
        self.plan.slots = {**self.state.asked_slots, **heard.slots}
        self.plan.intent, self.plan.confidence = intent, 1.0
        self.words = self.state.asked_text
        return replace(heard, intent=intent, meaning=meaning, confidence=1.0, certain=True)

    def to_ask_back(self, heard: Understanding) -> str | None:
        """The meaning to ask back about; None where a yes would lead nowhere, or where the
        question would tell a debt to somebody unknown."""
        meaning = heard.meaning or ""
        prompt = self.book.confirm.get(meaning)  # type: ignore[call-overload]
        if meaning == self.state.asked:
            return None  # asked once: without a yes then, it was not meant
        if prompt is None or (self.book.prompts[prompt].discloses and not self.identified):
            return None
        leads = self.transition(replace(heard, certain=True))
        acts = leads is not None and heard.intent in leads.intent
        return meaning if acts else None

    def ask_back(self, meaning: str) -> None:
        """Asks whether that was meant."""
        self.plan.asked = meaning
        self.plan.meaning = None
        self.say(self.book.confirm[meaning], self.state.node)  # type: ignore[index]

    @property
    def identified(self) -> bool:
        """Whether the customer has confirmed who they are, with this input or before."""
        return self.state.identified or self.plan.slots.get(IDENTITY) == CONFIRMED

    def bind(self) -> None:
        """Adds to the turn the fields from which a promise or an opt-out is stored."""
        plan = self.plan
        if plan.meaning == "promise_to_pay" and "date" in plan.slots:
            when = " ".join(filter(None, (plan.slots["date"], plan.slots.get("time"))))
            plan.slots = {**plan.slots, "promise_to_pay": when}
        elif plan.meaning == "opt_out":
            plan.slots = {**plan.slots, "opt_out_words": self.words[:LONGEST_REASON]}

    def silence(self) -> None:
        """Nobody has spoken for a while."""
        transition = self.transition(None)
        fallback, so_far = self.book.fallback.silence, self.state.silences
        if transition is not None:
            self.take(transition)
        elif so_far < fallback.max and unheard(self.state, self.facts) and self.has_prompt():
            # Nobody can answer an unheard prompt: repeat it instead of asking "are you there".
            self.plan.outcome = REPROMPT
            if self.state.asked in self.book.confirm:
                self.say(self.book.confirm[self.state.asked], self.state.node)
            else:
                self.again()
        else:
            self.fall_back(fallback, so_far)

    def transition(
        self, heard: Understanding | None, entry: str | None = None
    ) -> Transition | None:
        """The first transition whose conditions all hold: the node's own, then `always`. `entry`:
        the digits that were typed, where a node asks for some."""
        node = self.book.nodes.get(self.plan.node if entry is not None else self.state.node)
        own = node.transitions if node is not None else []
        return next((t for t in (*own, *self.book.always) if self.holds(t, heard, entry)), None)

    def holds(self, t: Transition, heard: Understanding | None, entry: str | None = None) -> bool:
        """Whether all conditions of a transition hold."""
        kind = "dtmf" if entry is not None else self.given.kind
        if (t.silence and kind != "silence") or (t.dtmf is not None and kind != "dtmf"):
            return False
        if kind == "silence" and not t.silence:
            return False
        if kind == "dtmf" and t.dtmf != (self.given.digits if entry is None else entry):
            return False
        if (t.intent or t.emotion or t.otherwise) and heard is None:
            return False
        if heard is not None and (
            (t.intent and heard.intent not in t.intent)
            or (t.emotion and heard.emotion not in t.emotion)
        ):
            return False
        if heard is not None and t.intent and heard.meaning in IRREVERSIBLE and not heard.certain:
            return False
        if t.slot is not None and t.slot not in self.plan.slots:
            return False  # a day named earlier for something else does not count
        if t.requires and not self.identified:
            return False
        if t.confirms and not self.confirms(heard):
            return False
        if t.ask_back and self.state.asked == t.ask_back:
            return False  # asked once: without a yes then, it was not meant
        return not t.outcome or self.state.outcome in t.outcome

    def confirms(self, heard: Understanding | None) -> bool:
        """Whether it is a certain yes to a question that was heard to its end."""
        asked = playing(self.state, self.facts) is None and not unheard(self.state, self.facts)
        return heard is not None and asked and confirms_identity(self.given.text)

    def take(self, t: Transition | None) -> None:
        """Follows a transition."""
        if t is None:
            return
        if t.confirms:
            self.plan.slots = {**self.plan.slots, IDENTITY: CONFIRMED}
            self.plan.meaning = "affirm"
        if t.ask_back is not None:
            self.ask_back(t.ask_back)
        if t.say is not None:
            self.say(t.say, self.state.node)
        if t.to is not None:
            self.enter(t.to)
        elif t.again:
            self.again()

    def fall_back(self, fallback: Fallback, so_far: int) -> None:
        """Says that nothing was understood, or gives up."""
        if so_far < fallback.max:
            self.plan.outcome = REPROMPT
            self.say(fallback.prompt, self.state.node)
        else:
            self.enter(fallback.then)

    def has_prompt(self) -> bool:
        """Whether the node says something of its own."""
        node = self.book.nodes.get(self.state.node)
        return node is not None and node.prompt is not None

    def again(self) -> None:
        """Repeats the node's own prompt, in the wording that was said before."""
        node = self.book.nodes.get(self.state.node)
        if node is not None and node.prompt is not None:
            self.say(node.prompt, self.state.node, self.state.variant)

    def enter(self, name: str) -> None:
        """Enters a node, carries it out, and goes on if it has a `next`."""
        at: str | None = name
        while at is not None:
            node, self.plan.node = self.book.nodes[at], at
            ahead = "" if node.keys is None else self.typed_ahead()
            self.perform(at, node, silently=bool(ahead))  # who typed ahead knows the question
            at = node.next
            if node.keys is not None and ahead:
                self.collect(ahead, node.keys)
            elif node.keys is not None and self.state.typed:
                self.typed("")  # pressed long ago, and not for this

    def typed_ahead(self) -> str:
        """Keys for the node that is being entered."""
        return self.plan.slots.get(TYPED, self.still_meant())

    def perform(self, name: str, node: Node, silently: bool = False) -> None:
        """One node's prompt, unless it is left out, and actions."""
        plan = self.plan
        if node.prompt is not None and not silently:
            self.say(node.prompt, name)
        if node.outcome is not None:
            plan.outcome = node.outcome
        if (message := node.message) is not None and (self.identified or not message.discloses):
            text = filled(message, self.facts.profile)
            if text is not None:
                plan.steps.append({
                    "kind": "message", "text": text,
                    "target": message.channel, "reason": message.template,
                })  # fmt: skip
        if node.transfer is not None:
            plan.steps.append({"kind": "transfer", "target": node.transfer, "reason": plan.reason})
        if node.hangup is not None:
            plan.steps.append({"kind": "hangup", "reason": node.hangup})

    def say(self, prompt_id: str, node: str, keep: str | None = None) -> None:
        """Adds a prompt in the wording for this customer."""
        prompt, plan = self.book.prompts[prompt_id], self.plan
        if prompt.discloses and not self.identified:
            return  # unreachable in a loaded playbook; a last safeguard
        choice = choose(
            prompt,
            self.facts.profile,
            seed=self.given.event_id,
            campaign=self.facts.campaign_id or "",
            node=node,
            counts=self.scene.counts,
            keep=self.keep or keep,
            named=self.facts.variant,
        )
        if choice.posterior is not None:
            plan.posterior[prompt_id] = choice.posterior
        of_node = self.book.nodes[node].prompt if node in self.book.nodes else None
        if plan.variant is None or prompt_id == of_node:
            plan.variant = choice.variant
        text, parts = choice.text, list[str]()
        if has_values(text):
            filled_in = fill(text, self.facts.profile)
            text = prompt.otherwise or "" if filled_in is None else filled_in.text
            if filled_in is not None:
                parts = [prompt_sha256(self.scene.voice, piece) for piece in filled_in.pieces]
        plan.steps.append({
            "kind": "say", "prompt_id": prompt_id, "text": text, "variant": choice.variant,
            "prompt_sha256": prompt_sha256(self.scene.voice, text), "prompt_parts": parts,
            "barge_in": prompt.barge_in, "reason": plan.reason,
            "turn_silence_ms": prompt.turn_silence_ms or self.book.turn_silence_ms,
        })  # fmt: skip

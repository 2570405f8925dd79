"""What an intent may mean, by names that playbooks, profiles and the law share.

An intent's name is its playbook's own. Code acts on its `meaning`, so it knows in every playbook
what cannot be undone.
"""

from typing import Literal, get_args

Meaning = Literal[
    "affirm", "deny_identity", "reject", "opt_out", "busy_callback", "consider",
    "price_objection", "ask_discount", "ask_price", "ask_details", "send_info", "who_are_you",
    "are_you_robot", "transfer", "thanks_bye", "backchannel", "hello", "already_bought",
    "register", "complain_angry", "unclear",
    "promise_to_pay", "ask_instalment", "hardship", "cannot_pay", "refuse_to_pay", "dispute",
    "already_paid", "third_party", "anxious", "ask_amount",
    "pension", "medical", "unemployment", "work_injury", "maternity", "balance",
    "transfer_account", "lost_card", "documents", "opening_hours", "address", "progress",
    "repeat", "slower", "person",
]  # fmt: skip

MEANINGS: frozenset[str] = frozenset(get_args(Meaning))

IRREVERSIBLE: frozenset[str] = frozenset({"opt_out", "promise_to_pay", "already_paid"})
"""The robot acts upon these only when the words are certain; else it asks back."""

BINDING: frozenset[str] = IRREVERSIBLE | {"affirm", "register"}
"""A question, a condition, a negation or somebody else's words never mean these."""

OUTCOME_MEANINGS = {
    "opted_out": "opt_out",
    "promised": "promise_to_pay",
    "says_paid": "already_paid",
}
"""Outcomes that only words of that meaning may lead to."""

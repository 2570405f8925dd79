"""What falls to a task among several caller ids and variants."""

from collections import Counter
from typing import Any

import pytest

from ringlog.campaigns.aggregate import Who, created
from ringlog.campaigns.choices import caller_id_of, variant_of
from ringlog.campaigns.settings import CampaignSettings
from ringlog.campaigns.terms import terms_of
from ringlog.terms import Callee, CallSetup
from streams.dispatch.policy import Policy
from streams.dispatch.site_terms import SiteTerms

TASKS = [f"task-{n}" for n in range(6_000)]


def settings(**more: Any) -> CampaignSettings:
    return CampaignSettings.model_validate({"playbook": "p", "purpose": "service"} | more)


def test_variants_fall_to_tasks_by_their_shares() -> None:
    shares = {"gentle": 1, "firm": 2, "short": 3}
    chosen = Counter(variant_of(settings(variants=shares), task) for task in TASKS)
    for name, share in shares.items():
        assert chosen[name] == pytest.approx(len(TASKS) * share / 6, rel=0.1)


def test_a_list_of_variants_has_equal_shares_and_none_is_drawn_without_any() -> None:
    chosen = Counter(variant_of(settings(variants=["a", "b"]), task) for task in TASKS)
    assert chosen["a"] == pytest.approx(len(TASKS) / 2, rel=0.1)
    assert variant_of(settings(), "t") is None and caller_id_of(settings(), "t") is None
    assert variant_of(settings(variants={"only": 7}), "t") == "only"


def test_another_caller_id_moves_only_the_tasks_that_get_it() -> None:
    numbers = ["+861060000001", "+861060000002", "+861060000003"]
    before, after = settings(caller_ids=numbers), settings(caller_ids=[*numbers, "+861060000004"])
    moved = [t for t in TASKS if caller_id_of(before, t) != caller_id_of(after, t)]
    assert {caller_id_of(after, task) for task in moved} == {"+861060000004"}
    assert len(moved) == pytest.approx(len(TASKS) / 4, rel=0.1)


@pytest.mark.parametrize(
    "variants", [{"a": 0}, {"a": 1_001}, {"": 1}, ["a"] * 33, {f"v{n}": 1 for n in range(33)}]
)
def test_shares_have_limits(variants: object) -> None:
    with pytest.raises(ValueError, match="variants"):
        settings(variants=variants)


def test_the_terms_name_them_and_the_law_is_asked_about_the_number_that_is_shown() -> None:
    found = settings(
        caller_ids=["+861060000001", "+861060000002"], variants=["a", "b"], asr_profile="bank"
    )
    version = created("default", "spring", "Spring", found, Who("ada", 1))
    terms = terms_of(version, SiteTerms(Policy()))
    for task in TASKS[:50]:
        setup = terms.setup(task)
        assert setup == CallSetup(caller_id_of(found, task), variant_of(found, task), "bank")
        callee = Callee("+8613800138000", task_id=task)
        assert terms.facts(callee, ()).caller_id == setup.caller_id

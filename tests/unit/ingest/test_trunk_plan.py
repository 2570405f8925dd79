"""`trunks.yaml`: what it says, and what it refuses by name and line."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from ingest.trunks.plan import (
    OPTIONS,
    SitePlan,
    SwitchPlan,
    SwitchType,
    default_plan,
    load_plan,
    parse_plan,
    plan_file,
)
from ingest.trunks.switches import SwitchMaker
from ringlog.settings import Settings, root
from ringlog.yaml_source import InvalidFile
from stack.services import build

GOOD = """\
switches:
  pbx: {type: sim, url: "http://x"}
trunks:
  a: {switch: pbx}
"""


def test_the_example_is_good() -> None:
    plan = load_plan(root() / "examples" / "trunks.yaml")
    a = plan.trunks["carrier-a"]
    assert a.dialled("+861012345678") == "PJSIP/+861012345678@carrier-a"
    assert plan.trunks["carrier-b"].dialled("+8613") == "PJSIP/8613@carrier-b"
    assert (a.cost_of("+8610123"), a.cost_of("+8621123"), a.cost_of("+4930")) == (0.02, 0.03, None)
    assert plan.trunks["carrier-b"].cost_of("+4930") == 0.5
    found = plan.of_called("+861060000001")
    assert found is not None and (found[0], found[1].playbook) == ("carrier-a", "promotion")
    assert plan.of_called("+1") is None


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("switch: pbx", "switch: lab"), 4, "there is no switch 'lab'; there are: pbx"),
        (("switch: pbx", "switch: pbx, caller_ids: x"), 4, "there are: none"),
        (("switch: pbx", "swich: pbx"), 4, "there are: caller_ids, calls, calls_per_second"),
        (("type: sim", "type: cisco"), 2, "'sim', 'asterisk' or 'freeswitch'"),
        (("switch: pbx", 'switch: pbx, endpoint: "x{phone}"'), 4, "{number} and {digits}"),
        (("switch: pbx", "switch: pbx, endpoint: 'x{number.real}'"), 4, "{number} and {digits}"),
        (("switch: pbx", "switch: pbx, weight: 0"), 4, "greater than or equal to 1"),
        (("  a:", "  a: {switch: pbx}\n  a:"), 5, "'a' is there twice, first in line 4"),
        (("type: sim", "type: sim, password_env: A, password_file: b"), 2, "not both"),
        (("type: sim", "type: sim, options: {ask: '5'}"), 2, "did you mean 'ask_s'?"),
        (
            ("type: sim", "type: asterisk, options: {\n    formatz: alaw}"),
            3,
            "switches.pbx.options.formatz: a switch of type asterisk has no such option; "
            "did you mean 'formats'?",
        ),
        (("type: sim", "type: freeswitch, options: {xyz: '5'}"), 2, "it has: dial, playback"),
        (("trunks:", "routing: {tris: 2}\ntrunks:"), 3, "breaker, no_response_s, order, tries"),
    ],
)
def test_a_fault_is_named(change: tuple[str, str], line: int, says: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        parse_plan(GOOD.replace(*change, 1), "t.yaml")
    assert any(p.line == line and says in str(p) for p in caught.value.problems), caught.value


class Asked(dict[str, str]):
    """Options of which it is told which were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return default


@pytest.mark.parametrize("kind", OPTIONS)
def test_the_options_are_those_that_drivers_ask_for(kind: SwitchType) -> None:
    asked = Asked()
    plan = SwitchPlan(type=kind, url="127.0.0.1:8021").model_copy(update={"options": asked})
    config = Settings(ari_password=SecretStr("x"))
    maker = SwitchMaker(config, "e", lambda call: "", lambda call: None, lambda call: "")
    maker("pbx", plan, {})
    assert asked.names == set(OPTIONS[kind])


def test_passwords_come_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def password(more: str) -> str:
        text = GOOD.replace("type: sim", f"type: sim, {more}")
        return parse_plan(text).switches["pbx"].password().get_secret_value()

    assert password("user: x") == ""
    monkeypatch.setenv("ARI", "s3")
    assert password("password_env: ARI") == "s3"
    (tmp_path / "p").write_text("s4\n")
    assert password(f"password_file: {tmp_path / 'p'}") == "s4"
    with pytest.raises(ValueError, match="RINGLOG_NO_SUCH is not set"):
        password("password_env: RINGLOG_NO_SUCH")
    with pytest.raises(ValueError, match="no password in"):
        password("password_file: /nowhere")


def test_without_a_file_the_simulated_carrier_serves() -> None:
    plan = default_plan(Settings())
    assert list(plan.trunks) == ["sim"] and plan.switches["sim"].url == Settings().sim_url


MANGLED = st.builds(
    lambda at, more: GOOD[:at] + more + GOOD[at:], st.integers(0, len(GOOD)), st.text(max_size=9)
)


@given(st.text(max_size=200) | st.text("{}[]&*a1:- \n!?|>'\"~.0xeEb", max_size=60) | MANGLED)
def test_any_text_is_a_plan_or_a_clear_error(text: str) -> None:
    try:
        assert isinstance(parse_plan(text), SitePlan)
    except InvalidFile as error:
        assert error.problems


@pytest.mark.parametrize("text", ["&a [*a]", "[" * 5_000, "a: \x1f", "? [a]: b", "a: 0b", "\ud800"])
def test_odd_yaml_is_a_clear_error(text: str) -> None:
    with pytest.raises(InvalidFile):
        parse_plan(text)


def test_the_printed_example_is_the_one_that_is_tried() -> None:
    page = (root() / "docs" / "how-to" / "trunks.md").read_text(encoding="utf-8")
    printed = page.partition("```yaml\n")[2].partition("```")[0]
    assert printed == (root() / "examples" / "trunks.yaml").read_text(encoding="utf-8")
    assert parse_plan(printed).routing.tries == 4


def test_the_stack_publishes_a_file_that_is_there(tmp_path: Path) -> None:
    def steps(config: Settings) -> set[str]:
        return {part.name for part in build(config)}

    assert "trunks" not in steps(Settings(home=tmp_path))
    (tmp_path / "trunks.yaml").write_text(GOOD)
    assert "trunks" in steps(Settings(home=tmp_path))
    other = Settings(home=tmp_path / "no", trunks_file=tmp_path / "trunks.yaml")
    assert "trunks" in steps(other) and plan_file(other) == tmp_path / "trunks.yaml"

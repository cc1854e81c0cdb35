"""Tools that were switched from the other server to ours."""

from pathlib import Path

import pytest

from agent.adapters import active
from agent.adapters.active import ActiveAdapter
from agent.serving.shadow import switches
from tests.fakes.adapter_folder import write_manifest
from tests.fakes.gateway_door import CHAT, WITH_TOOLS
from tests.fakes.model_server import Says
from tests.fakes.shadow_world import ADD_12, BOTH, THEIRS, World, result_of, world


class TestSwitching:
    """Who answers the calls of a tool."""

    def test_a_request_whose_tools_are_switched_is_ours(self, place: World) -> None:
        switches.choose(place.data, "add", "ours")
        assert place.ask(WITH_TOOLS).json()["choices"][0]["message"]["content"] == "ours"
        assert place.theirs.requests == []
        switches.choose(place.data, "add", "upstream")
        assert place.ask(WITH_TOOLS).json()["choices"][0]["message"]["content"] == "theirs"

    def test_a_request_without_tools_stays_theirs(self, place: World) -> None:
        switches.choose(place.data, "add", "ours")
        assert place.ask(CHAT).json()["choices"][0]["message"]["content"] == "theirs"

    @pytest.mark.parametrize("stream", [False, True])
    def test_with_some_tools_switched_our_call_of_one_is_the_answer(self, place: World, stream: bool) -> None:
        switches.choose(place.data, "add", "ours")
        place.say(Says("theirs"), Says(calls=[("add", ADD_12)]))
        answer = place.ask({**BOTH, "stream": stream})
        assert answer.headers["x-apprentice-adapter"] == "base"
        assert answer.headers["content-type"].startswith("text/event-stream" if stream else "application/json")
        assert '"add"' in answer.text
        assert place.theirs.requests == []
        assert [adapter for adapter, _ in place.logged(1)] == ["base"]

    @pytest.mark.parametrize("says", [Says("ours"), Says(calls=[("square", '{"n": 2}')])])
    def test_any_other_answer_of_ours_is_not(self, place: World, says: Says) -> None:
        switches.choose(place.data, "add", "ours")
        place.say(Says(calls=[("square", '{"n": 2}')]), says)
        place.compare(BOTH)
        assert len(place.ours.requests) == 1  # asked once, and compared
        assert place.logged(1) == [(f"upstream:{THEIRS}", "")]

    def test_results_go_to_whoever_asked_for_the_call(self, place: World) -> None:
        place.say(Says(calls=[("add", ADD_12)], call_id="theirs-"), Says(calls=[("add", ADD_12)], call_id="ours-"))
        theirs = place.ask(WITH_TOOLS)
        switches.choose(place.data, "add", "ours")
        ours = place.ask({**WITH_TOOLS, "messages": [{"role": "user", "content": "another"}]})
        place.say(Says("theirs"), Says("ours"))
        for answer, expected in ((theirs, "theirs"), (ours, "ours")):
            assert place.ask(result_of(answer, "3")).json()["choices"][0]["message"]["content"] == expected

    def test_results_of_a_call_that_nobody_remembers_go_to_them(self, place: World) -> None:
        switches.choose(place.data, "add", "ours")
        call = {"id": "x", "type": "function", "function": {"name": "add", "arguments": ADD_12}}
        said = {"role": "assistant", "content": None, "tool_calls": [call]}
        tool = {"role": "tool", "tool_call_id": "x", "content": "3"}
        body = {**WITH_TOOLS, "messages": [*WITH_TOOLS["messages"], said, tool]}
        assert place.ask(body).json()["choices"][0]["message"]["content"] == "theirs"

    def test_a_damaged_file_of_choices_leaves_all_with_them(self, place: World) -> None:
        switches.path(place.data).write_text("{")
        assert place.ask(WITH_TOOLS).json()["choices"][0]["message"]["content"] == "theirs"

    def test_what_was_measured_switches_where_the_setting_lets_it(self, tmp_path: Path) -> None:
        agree = Says(calls=[("add", ADD_12)], call_id="c-")
        with world(tmp_path, switch_automatically=True, threshold=0.4, minimum_calls=4) as place:
            place.say(agree, agree)
            place.compare(WITH_TOOLS, 3)
            assert place.shadow._measured["base"] == frozenset()
            place.compare(WITH_TOOLS)
            asked = len(place.theirs.requests)
            assert place.ask(WITH_TOOLS).headers["x-apprentice-adapter"] == "base"
            assert len(place.theirs.requests) == asked
            switches.choose(tmp_path, "add", "upstream")  # the way back holds
            assert place.ask(WITH_TOOLS).headers["x-apprentice-adapter"] == f"upstream:{THEIRS}"

    def test_another_adapter_has_to_show_it_again(self, tmp_path: Path) -> None:
        agree = Says(calls=[("add", ADD_12)], call_id="c-")
        with world(tmp_path, switch_automatically=True, threshold=0.4, minimum_calls=4) as place:
            place.say(agree, agree)
            place.compare(WITH_TOOLS, 4)
            write_manifest(tmp_path / "adapters" / "adapter-0001", None)
            active.write(tmp_path, ActiveAdapter(name="adapter-0001", sha256="a" * 64))
            assert place.ask(WITH_TOOLS).headers["x-apprentice-adapter"] == f"upstream:{THEIRS}"

    def test_without_the_setting_nothing_switches_by_itself(self, tmp_path: Path) -> None:
        agree = Says(calls=[("add", ADD_12)])
        with world(tmp_path, threshold=0.4, minimum_calls=1) as place:
            place.say(agree, agree)
            place.compare(WITH_TOOLS, 5)
            assert place.ask(WITH_TOOLS).headers["x-apprentice-adapter"] == f"upstream:{THEIRS}"

"""`salus top`: rates, ages and what is drawn."""

import json
import math
import tracemalloc

import pytest
from rich.console import Console

from salus_ros.cli.top_state import INTERVENTIONS, InterventionLine, Stream, TopState
from salus_ros.cli.top_view import BAR, bar, view

NOW = 100.0


def filled():
    state = TopState(nodes=("safety_supervisor", "vla_policy", "sim_rig"))
    for node, last in (("safety_supervisor", 0.1), ("vla_policy", 3.0)):
        state.heartbeats[node] = Stream()
        state.heartbeats[node].add(NOW - last, 0.0)
    state.lifecycle = {"safety_supervisor": "active", "vla_policy": "active"}
    state.streams["/joint_commands"] = Stream()
    for k in range(401):
        state.streams["/joint_commands"].add(NOW - 4.0 + k / 100, 0.02)
    state.streams["/salus/signals"] = Stream()
    state.take_signal("action_volatility", 0.5, True)
    state.take_signal("action_volatility", 0.25, True)
    state.take_signal("latent_drift", 0.0, False)
    state.mode, state.reasons = "HOLD", ["plan_stale"]
    state.supervisor = {
        "at_rest": True,
        "plan_deviation": 0.01,
        "tracking_error": 0.002,
        "commands_sent": 400,
        "missed_deadlines": 3,
        "realtime": False,
    }
    state.prediction_valid, state.alarm = True, True
    state.horizons, state.failure_types = [0.2, 1.0], ["drop", "miss"]
    state.probabilities = [[0.1, 0.2], [0.3, 0.7]]
    state.episode_failure = 0.4
    state.inference = {"sample": 0.03}
    state.interventions.append(InterventionLine("10:00:00", "NOMINAL → HOLD", "plan_stale", "old"))
    return state


def drawn(state):
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    with console.file:
        console.print(view(state, NOW))
        return console.export_text()


def test_rates_are_of_the_window_and_fall_to_nothing():
    stream = filled().streams["/joint_commands"]
    assert abs(stream.rate(NOW) - 100.0) < 1.0
    assert stream.age(NOW) == 0.02
    assert stream.rate(NOW + 10.0) == 0.0
    assert stream.age(NOW + 10.0) is None
    assert Stream().rate(NOW) == 0.0


def test_a_node_without_a_beat_is_lost_and_one_never_heard_of_is_silent():
    state = filled()
    found = {node: state.node_state(node, NOW) for node in state.nodes}
    expected = {"safety_supervisor": "active", "vla_policy": "lost", "sim_rig": "silent"}
    assert found == expected


def test_all_that_matters_is_drawn():
    text = drawn(filled())
    for shown in ("HOLD", "plan_stale", "3 of 400 ticks late", "default scheduler", "lost", "100.",
                  "not valid", "ALARM", "0.70", "NOMINAL → HOLD", "sample", "30.0"):  # fmt: skip
        assert shown in text, shown


def test_an_empty_graph_can_be_drawn():
    assert "no supervisor" in drawn(TopState(nodes=("vla_policy",)))


def test_bars_are_shares_and_never_too_long():
    assert bar(0.5, 1.0, "red").plain == "█" * (BAR // 2) + " " * (BAR // 2)
    assert bar(9.0, 1.0, "red").plain == "█" * BAR
    assert bar(-1.0, 1.0, "red").plain == bar(1.0, 0.0, "red").plain == " " * BAR


def test_values_are_for_machines_too_and_old_interventions_go():
    state = filled()
    for k in range(20):
        state.interventions.append(InterventionLine(str(k), "", "", ""))
    content = json.loads(json.dumps(state.as_dict(NOW), allow_nan=False))
    assert content["signals"]["action_volatility"] == {"value": 0.25, "valid": True}
    assert content["prediction"]["probabilities"] == [[0.1, 0.2], [0.3, 0.7]]
    assert len(content["interventions"]) == INTERVENTIONS


def test_what_others_publish_is_shown_as_it_is():
    state = filled()
    state.failure_types, state.inference = ["[/drop]", "[miss]"], {"[sample]": 0.1}
    state.interventions.append(InterventionLine("10:00:01", "HOLD", "[x]", "dropped: ['/a'] [/b]"))
    text = drawn(state)
    for shown in ("[/drop]", "[miss]", "[sample]", "dropped: ['/a'] [/b]"):
        assert shown in text


@pytest.mark.parametrize("values", [[], [0.1, 0.2, 0.3], [0.1, 0.2, math.nan, 0.4]])
def test_a_prediction_that_is_no_table_is_not_valid(values):
    state = filled()
    state.take_prediction([0.2, 1.0], ["drop", "miss"], values)
    assert not state.prediction_valid
    drawn(state)
    state.take_prediction([0.2, 1.0], ["drop", "miss"], [0.1, 0.2, 0.3, 0.4])
    assert state.prediction_valid
    assert state.probabilities == [[0.1, 0.2], [0.3, 0.4]]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_signal_that_is_not_finite_is_not_valid(value):
    state = filled()
    state.take_signal("action_volatility", value, True)
    assert "not valid" in drawn(state)
    json.dumps(state.as_dict(NOW), allow_nan=False)


def test_days_of_heartbeats_take_no_memory():
    """Nobody asks a heartbeat's stream for its rate."""
    stream = Stream()
    tracemalloc.start()
    for k in range(20_000):
        stream.add(NOW + 0.2 * k, 0.0)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken < 100_000
    assert stream.rate(NOW + 0.2 * 20_000) == pytest.approx(5.0, rel=0.1)

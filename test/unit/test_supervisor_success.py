"""What detectors cost: pairs of episodes are counted, and intervals hold what they should."""

import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from salus_ros.bench.supervisor_success import compare, mcnemar, paired_interval
from salus_ros.cli.main import app


def runs(successes, held=()):
    return [
        SimpleNamespace(
            status=SimpleNamespace(success=success, end=5.0),
            interventions={"detector_alarm": 1} if k in held else {},
        )
        for k, success in enumerate(successes)
    ]


def test_episodes_are_compared_in_pairs():
    off = runs([True] * 90 + [False] * 10)
    on = runs([False] * 5 + [True] * 87 + [False] * 8, held=(3, 4))
    found = compare(off, on)
    assert found["off"]["count"] == 90
    assert found["on"]["count"] == 87
    assert (found["only_without"], found["only_with"]) == (5, 2)
    assert found["difference"] == pytest.approx(-0.03)
    low, high = found["difference_interval"]
    assert low < -0.03 < 0 < high
    assert found["on_inside_interval_of_off"]
    assert found["episodes_with_false_hold"]["count"] == 2
    assert found["mcnemar_exact_p"] == pytest.approx(0.453125)


def test_a_large_loss_is_outside_the_interval():
    found = compare(runs([True] * 100), runs([True] * 80 + [False] * 20))
    assert not found["on_inside_interval_of_off"]
    assert found["difference_interval"][1] < 0
    assert found["mcnemar_exact_p"] < 1e-5


def test_where_no_pair_differs_nothing_is_claimed():
    assert mcnemar(0, 0) == 1.0
    low, high = paired_interval(0, 0, 200)
    assert low == -high
    assert 0.01 < high < 0.03


@pytest.mark.parametrize(("won", "lost", "p"), [(10, 0, 2 / 1024), (5, 5, 1.0), (1, 6, 0.125)])
def test_mcnemar_is_exact(won, lost, p):
    assert mcnemar(won, lost) == mcnemar(lost, won) == pytest.approx(p)


def test_the_command_runs_both_and_says_where_it_comes_from(tmp_path):
    made, told = tmp_path / "panda.npz", tmp_path / "told.json"
    arguments = "calibrate supervisor --episodes-from lockstep --episodes 10 --budget 0.95 --out"
    assert CliRunner().invoke(app, [*arguments.split(), str(made)]).exit_code == 0
    arguments = ["evaluate", "detectors", "--calibration", str(made), "--episodes", "1"]
    result = CliRunner().invoke(app, [*arguments, "--json", str(told)])
    assert result.exit_code == 0, result.output
    content = json.loads(told.read_text())
    assert content["off"]["of"] == content["on"]["of"] == 1
    assert content["calibration"]["robot"] == "sim_panda"
    assert {"hardware", "versions", "commit"} <= set(content)

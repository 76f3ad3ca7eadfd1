"""The limit of staleness that a study of the task gives, and that the compiler keeps to."""

import json

import pytest
from command_line import invoke
from hypothesis import given
from hypothesis import strategies as st

from salus_ros.bench.staleness import Cell, limit, loss_interval, run_cell, to_json
from salus_ros.deploy.axes import make_budget
from salus_ros.deploy.job import with_study
from salus_ros.deploy.levers import CompileError


def cell(age, successes, horizon=1, episodes=200):
    return Cell(horizon, 0.03, age, successes, episodes)


def test_the_limit_lies_before_the_first_cell_that_loses():
    cells = [cell(32.0, 120, 32), cell(1.0, 196), cell(8.0, 195, 8), cell(16.0, 150, 16)]
    found = limit(cells, margin=0.05)
    assert found["age"] == 8
    assert found["staleness"] == 7
    assert found["first_that_loses"] == {"horizon": 16, "delay": 0.03}


def test_too_few_episodes_show_nothing():
    """What can't be told from harm counts as harm."""
    few = [cell(1.0, 4, episodes=4), cell(9.0, 4, 9, episodes=4)]
    assert limit(few, margin=0.05)["age"] == 1
    many = [cell(1.0, 400, episodes=400), cell(9.0, 400, 9, episodes=400)]
    assert limit(many, margin=0.05)["age"] == 9


@given(st.integers(0, 50), st.integers(0, 50))
def test_the_interval_of_a_loss_holds_the_loss(a, b):
    best, other = cell(1.0, a, episodes=50), cell(2.0, b, episodes=50)
    low, high = loss_interval(best, other)
    assert -1.0 - 1e-9 <= low <= (a - b) / 50 <= high <= 1.0 + 1e-9


def test_the_compiler_keeps_to_it(tmp_path):
    file = tmp_path / "staleness.json"
    file.write_text(json.dumps(to_json([cell(3.0, 198), cell(9.4, 197, 8)], 0.1)))
    budgets = with_study({"own": make_budget("rmse", {})}, file)
    (kept,) = budgets["own"].limits
    assert (kept.axis, kept.value) == ("age", 9.0)
    file.write_text("{}")
    with pytest.raises(CompileError, match="no result of `salus evaluate staleness`"):
        with_study(budgets, file)


def test_ages_are_those_of_horizon_and_delay():
    """In the rig: the oldest observation that is acted on follows both."""
    pytest.importorskip("mujoco")
    series = [("reach above the red block", 1_000_003)]
    short = run_cell(series, "scripted_expert", {}, (1, 0.033))
    long = run_cell(series, "scripted_expert", {}, (8, 0.033))
    late = run_cell(series, "scripted_expert", {}, (1, 0.2))
    assert short.age < 4.0
    assert 7.0 < long.age < 11.0
    assert late.age > 6.0


def test_an_unknown_policy_is_one_line():
    code, said = invoke("evaluate", "staleness", "--policy", "nobody", "--episodes", "1")
    assert code == 1
    assert "unknown policy 'nobody'" in said

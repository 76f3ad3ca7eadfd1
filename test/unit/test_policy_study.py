"""The evaluation of a policy: seeds, what counts as the right block, rates with intervals."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("mujoco")

from salus_ros.bench import policy_study as study
from salus_ros.sim.series import FIRST_UNSEEN_SEED
from salus_ros.sim.tasks import TASKS


def result(i: int, success: bool, right: bool = True) -> study.Result:
    instruction = TASKS[i % len(TASKS)].instruction
    failure = "" if success else "miss"
    return study.Result(instruction, i, success, failure, right, 4.0, {"resumed": 1})


def test_each_instruction_has_as_many_episodes_and_no_seed_comes_twice():
    series = study.episodes_of(5, FIRST_UNSEEN_SEED)
    assert set(Counter(i for i, _ in series).values()) == {5} and len(series) == 40
    seeds = [seed for _, seed in series]
    assert len(set(seeds)) == 40 and min(seeds) >= 1_000_000


def test_rates_are_counted_by_instruction_with_intervals_around_them():
    results = [result(i, success=i % 4 != 0, right=i % 8 != 1) for i in range(80)]
    summary = study.summary(results)
    assert summary["success_rate"] == 0.75 and summary["right_block_rate"] == 0.875
    assert summary["by_instruction"][TASKS[0].instruction]["success_rate"] == 0.0
    assert summary["by_instruction"][TASKS[1].instruction]["right_block_rate"] == 0.0
    low, high = summary["success_interval"]
    assert low < 0.75 < high
    assert summary["failures"] == {"miss": 20} and summary["interventions"] == {"resumed": 80}


@pytest.mark.parametrize("told", ["", "wrong_instruction"])
def test_the_right_block_is_the_one_that_was_asked_for(told):
    """Told another colour, the expert does its task well, with the wrong block."""
    setting = study.Setting(disturbance=told, execution_horizon=10, latency=0.03)
    series = study.episodes_of(1, 2000)[:: 5 if told else 1]
    results = study.evaluate(series, "scripted_expert", {}, setting)
    rates = {r.instruction: (r.success, r.right_block) for r in results}
    if told:
        assert not any(right for _, right in rates.values())
    else:
        assert all(success and right for success, right in rates.values())


def test_an_unknown_policy_or_option_is_refused():
    for policy, options in (("magic", {}), ("scripted_expert", {"checkpoint": "x"})):
        with pytest.raises(ValueError, match=policy):
            study.evaluate([], policy, options, study.Setting())

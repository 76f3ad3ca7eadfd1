"""Acting on predictions in lock-step, and the comparison with not acting."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="needs the simulation: run `make build`")

from salus_ros.bench.gating import Pair, compare, run_pairs
from salus_ros.prediction.alarm import Band
from salus_ros.prediction.features import Normalisation
from salus_ros.prediction.model import FailureModel
from salus_ros.prediction.network import Network, NetworkConfig
from salus_ros.prediction.platt import Platt
from salus_ros.prediction.predictor import FailurePredictor
from salus_ros.sim.episode import EpisodeStatus, Phase
from salus_ros.sim.lockstep import EpisodeRun
from salus_ros.sim.rig import RigConfig
from salus_ros.sim.rollout_plan import PlannedEpisode, plan_episodes


def always(*thresholds):
    """A model whose score is always 0, against these thresholds of the alarm by the step."""
    config = NetworkConfig(layers=2, hidden=4)
    weights = {name: np.zeros(shape, np.float32) for name, shape in config.shapes().items()}
    ones = np.ones(12, np.float32)
    return FailurePredictor(
        FailureModel(
            network=Network(config, weights),
            normalisation=Normalisation(0 * ones, ones),
            table=Platt(np.ones((4, 4)), np.full((4, 4), -20.0)),
            episode=Platt(np.ones(1), np.zeros(1)),
            band=Band(np.array(thresholds)),
        )
    )


def test_the_gate_holds_on_the_alarm():
    planned = plan_episodes(1, 1500, (), 1.0)
    brief = RigConfig(time_limit=6_000_000_000)
    predictor = always(*[1.0] * 30, -1.0)
    (held,) = run_pairs(planned, "scripted_expert", {}, predictor, rig_config=brief)
    assert held.off.status.success and held.on.status.failure_type == "timeout"
    assert "prediction_alarm" not in held.off.interventions
    told = compare([held])
    assert told["interventions"]["prediction_alarm"] >= 1
    assert told["groups"]["all"]["success"]["difference"]["value"] == -1.0
    assert told["groups"]["all"]["timeout"]["on"]["count"] == 1


def run(end, success, failure=""):
    onset = end - 1 if failure else -1.0
    status = EpisodeStatus(1, 1, "", "", Phase.ENDED, success, failure, onset, end)
    return EpisodeRun(status, 1.0)


def test_outcomes_and_times_are_paired():
    planned = PlannedEpisode(0, 1, "pick up the red block", None)
    pairs = [Pair(planned, run(5, True), run(6, True))] * 6
    pairs += [Pair(planned, run(4, False, "collision"), run(15, False, "timeout"))] * 4
    (group,) = (compare(pairs)["groups"][name] for name in ("undisturbed",))
    assert group["collision"]["difference"]["value"] == pytest.approx(-0.4)
    assert group["collision"]["off"]["count"] == 4 and group["collision"]["on"]["count"] == 0
    assert group["collision"]["difference"]["high"] < 0 < group["timeout"]["difference"]["low"]
    assert group["success"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert group["time_of_successes"]["difference_where_both_succeed"]["value"] == 1.0

"""Checks 9 and 10: SLOW, HOLD with requests, STOP by prediction; the enable switch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_supervision_gate import Rig, reasons

from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.modes import Mode

TYPES = ("collision", "drop", "miss", "timeout")
HORIZONS = (0.2, 0.333, 0.433, 0.533)


def predict(
    rig: Rig, shortest: float = 0.0, middle: float = 0.0, longest: float = 0.0, alarm: bool = False
) -> str:
    """A prediction whose collisions have these probabilities."""
    table = np.zeros((4, 4))
    table[:, 0] = (
        shortest,
        max(shortest, middle),
        max(shortest, middle),
        max(shortest, middle, longest),
    )
    return rig.gate.on_prediction(table, TYPES, HORIZONS, alarm, True, rig.now)


def speeds(rig: Rig, ticks: int) -> Any:
    return np.array([np.abs(r.command.velocities) for r in rig.results[-ticks:]])


def fast(time: float) -> Any:
    """Joint 1 at up to 0.8 rad/s, of 1.09 allowed."""
    return np.array([0.4 * np.sin(2 * time), 0.0, 0.0, -1.5, 0.0, 1.8, 0.0])


def test_a_likely_failure_slows_the_arm_without_a_velocity_step() -> None:
    rig = Rig(plan=fast)
    rig.follow()
    rig.run(1.0)  # Catching up at the begin is faster than the plan.
    before = speeds(rig, 200).max()
    predict(rig, longest=0.65)
    assert rig.run(1.0).mode is Mode.SLOW
    rig.run(3.0)
    top = 0.5 * rig.gate._parts.generator.limits.velocity[0]
    assert before > 1.2 * top
    assert speeds(rig, 300)[:, 0].max() <= top * (1 + 1e-6)
    # It goes on along the plan, is not held by its own slowness, and gets fast again.
    assert speeds(rig, 300)[:, 0].max() > 0.2
    assert {r.mode for r in rig.results[-300:]} == {Mode.SLOW}
    predict(rig)
    assert rig.run(3.0).mode in (Mode.NOMINAL, Mode.LIMITED)
    assert speeds(rig, 200).max() > 0.9 * before
    rig.check()
    assert {"failure_likely", "full_speed"} <= set(reasons(rig.gate.drain_interventions()))


def test_in_slow_the_plans_clock_runs_at_half() -> None:
    """A plan at 0.4 rad/s, well inside the lowered limits, is followed at 0.2 rad/s."""
    began = 2.0

    def steady(time: float) -> Any:
        return np.array([0.4 * max(time - began, 0.0), 0.0, 0.0, -1.5, 0.0, 1.8, 0.0])

    rig = Rig(config=GateConfig(observation_age=5.0), plan=steady)
    rig.run(2.5)
    rig.send(rows=120)
    rig.send_chunks = False
    predict(rig, longest=0.7)
    rig.run(1.5)
    np.testing.assert_allclose(speeds(rig, 50)[:, 0], 0.2, rtol=0.02)
    assert rig.gate.state(rig.now).plan_deviation < 0.005
    assert rig.results[-1].mode is Mode.SLOW
    rig.check()


def test_stale_missing_and_malformed_predictions_loosen_nothing() -> None:
    rig = Rig()
    rig.follow()
    predict(rig, longest=0.65)
    gate, table = rig.gate, np.zeros((4, 4))
    for wrong in (
        (table[:3], TYPES, HORIZONS, False, True),
        (table * np.nan, TYPES, HORIZONS, False, True),
        (table + 2, TYPES, HORIZONS, False, True),
        (table, TYPES, HORIZONS[::-1], False, True),
        (table, TYPES, HORIZONS, False, False),
        (np.zeros((0, 0)), (), (), False, True),
        ("zero", TYPES, HORIZONS, False, True),
    ):
        assert gate.on_prediction(*wrong, rig.now) != ""
    assert rig.run(5.0).mode is Mode.SLOW


def test_a_failure_soon_holds_and_asks_for_retries_then_for_a_human() -> None:
    rig = Rig()
    rig.follow()
    predict(rig, middle=0.75)
    times = []
    for k in range(500):
        if k % 10 == 0:
            rig.send()
        result = rig.tick()
        seen = (result.requests.retries, result.requests.humans)
        if not times or times[-1][1] != seen:
            times.append((k, seen))
    assert [seen for _, seen in times] == [(1, 0), (2, 0), (2, 1)]
    assert np.diff([k for k, _ in times]).tolist() == [100, 100]
    assert result.mode is Mode.HOLD
    assert "human" in rig.gate.state(rig.now).requests.text
    predict(rig)
    assert rig.run(2.0).mode is Mode.NOMINAL
    rig.gate.new_episode(rig.now)
    assert rig.tick().requests.retries == 0
    assert "new_episode" in reasons(rig.gate.drain_interventions())


def test_the_alarm_holds_until_it_ends_or_an_operator_takes_the_hold_back() -> None:
    rig = Rig()
    rig.follow()
    predict(rig, alarm=True)
    result = rig.run(3.0)
    assert (result.mode, result.reasons) == (Mode.HOLD, ("prediction_alarm",))
    rig.gate.request_hold(False, rig.now)
    assert rig.run(2.0).mode is Mode.NOMINAL


def test_a_collision_at_once_stops_and_reset_is_refused_while_it_is_predicted() -> None:
    rig = Rig()
    rig.follow()
    predict(rig, shortest=0.95)
    rig.tick()
    predict(rig, shortest=0.95)
    assert rig.run(1.0).mode is Mode.STOP
    done, why = rig.gate.request_reset(rig.now)
    assert not done
    assert "collision" in why
    predict(rig)
    assert rig.gate.request_reset(rig.now)[0]
    rig.check()


@pytest.mark.parametrize("name", ["slow", "retry", "collision"])
def test_thresholds_are_configurable(name: str) -> None:
    setting: dict[str, Any] = {f"{name}_probability": 0.1}
    rig = Rig(config=GateConfig(**setting))
    rig.follow()
    predict(rig, shortest=0.2)
    expected = {"slow": Mode.SLOW, "retry": Mode.HOLD, "collision": Mode.STOP}
    assert rig.tick().mode is expected[name]


# ---- enable switch ----------------------------------------------------------------------------


def test_without_a_fresh_enable_the_arm_holds_where_it_is_required() -> None:
    rig = Rig(config=GateConfig(require_enable=True))
    assert rig.run(2.0).reasons == ("enable_lost",)
    for _ in range(20):
        rig.gate.on_enable(True, rig.now)
        result = rig.run(0.1)
    assert result.mode is Mode.NOMINAL
    rig.gate.on_enable(False, rig.now)
    assert rig.tick().reasons == ("enable_lost",)
    for _ in range(20):
        rig.gate.on_enable(True, rig.now)
        result = rig.run(0.1)
    assert result.mode is Mode.NOMINAL
    assert rig.run(0.3).reasons == ("enable_lost",)
    rig.check()


def test_an_enable_switch_that_is_not_required_changes_nothing() -> None:
    rig = Rig()
    rig.gate.on_enable(False, rig.now)
    rig.follow()

"""Parameters that change while the gate runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_supervision_gate import MIDDLE, Rig
from test_supervision_workspace import check, spaced, sweep

from salus_ros.supervision.verification import verify


def test_a_lower_fraction_is_kept_from_then_on() -> None:
    rig = Rig(plan=lambda time: MIDDLE + 0.2 * np.sin(time))
    rig.follow()
    rig.gate.request_hold(True, rig.now)
    rig.come_to_rest()
    done, why = rig.gate.reconfigure({"operating_fraction": 0.1}, rig.now)
    assert (done, why) == (True, "")
    since = len(rig.results)
    rig.gate.request_hold(False, rig.now)
    rig.run(4.0)
    later = [result.command for result in rig.results[since:]]
    assert np.abs([c.velocities for c in later]).max() > 0.1
    lower = rig.limits.arm.operating(0.1)
    assert not verify(later, lower, rig.gate.period, 0.1)
    rig.check()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"operating_fraction": 1.2}, "operating_fraction is 1.2"),
        ({"operating_fraction": 0.02}, "couldn't stop inside these limits"),
        ({"tool_speed": 0.05}, "couldn't stop inside these limits"),
        ({"tool_speed": float("nan")}, "tool_speed is nan"),
        ({"tool_speed": 50.0}, "give a number from 0.01 to 2"),
        ({"rate": 500.0}, "rate can't change while the gate runs"),
        ({"unknown": 1.0}, "unknown can't change"),
        ({"tracking_error": 0.002}, "the arm is 0.005 rad from the command already"),
        ({"joint_state_age_hold": 0.5}, "is above joint_state_age_stop"),
        ({"slow_factor": "fast"}, "slow_factor is 'fast'"),
    ],
)
def test_a_change_that_is_not_possible_is_refused_and_changes_nothing(
    changes: dict[str, Any], expected: str
) -> None:
    rig = Rig(limits=spaced(), plan=sweep(0.2))
    rig.run(3.3)
    rig.offset = np.full(7, 0.005)
    rig.gate.on_joint_state(rig.joints(), rig.now)
    before = rig.gate.config
    done, why = rig.gate.reconfigure({"retry_gap": 2.0, **changes}, rig.now)
    assert not done
    assert expected in why
    assert "\n" not in why
    assert rig.gate.config is before
    rig.run(0.5)
    check(rig)


def test_a_lower_tool_speed_is_kept_from_then_on() -> None:
    rig = Rig(limits=spaced(), plan=sweep(0.15))
    rig.run(2.0)
    rig.gate.request_hold(True, rig.now)
    rig.come_to_rest()
    assert rig.gate.reconfigure({"tool_speed": 0.1}, rig.now, apply=False)[0]
    assert rig.gate.config.tool_speed == 0.25
    assert rig.gate.reconfigure({"tool_speed": 0.1}, rig.now)[0]
    rig.config = rig.gate.config
    rig.results.clear()
    rig.gate.request_hold(False, rig.now)
    rig.run(3.0)
    assert np.abs(rig.results[-1].command.velocities).max() > 0.01
    check(rig)


def test_thresholds_change_at_once() -> None:
    rig = Rig()
    rig.follow()
    assert rig.gate.reconfigure({"slow_probability": 0.2}, rig.now)[0]
    table = np.full((2, 1), 0.3)
    rig.gate.on_prediction(table, ("miss",), (0.2, 0.5), False, True, rig.now)
    assert rig.tick().reasons == ("failure_likely",)

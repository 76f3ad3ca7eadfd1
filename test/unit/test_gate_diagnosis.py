"""What /diagnostics says of the gate's mode."""

import pytest

from salus_ros.diagnosis import Level
from salus_ros.supervision.gate_report import gate_diagnosis
from salus_ros.supervision.modes import CAUSES, Mode


@pytest.mark.parametrize(
    ("mode", "level"),
    [
        (Mode.INACTIVE, Level.OK),
        (Mode.NOMINAL, Level.OK),
        (Mode.LIMITED, Level.WARN),
        (Mode.SLOW, Level.WARN),
        (Mode.HOLD, Level.WARN),
        (Mode.STOP, Level.ERROR),
        (Mode.ESTOP, Level.ERROR),
    ],
)
def test_levels_of_the_modes(mode, level):
    assert gate_diagnosis("safety_supervisor", mode, ()).level == level


def test_it_names_the_causes_that_hold_the_arm():
    told = gate_diagnosis("safety_supervisor", Mode.HOLD, ("plan_ran_out", "joint_state_lost"))
    assert told.name == "safety_supervisor: gate"
    for cause in ("plan_ran_out", "joint_state_lost"):
        assert CAUSES[cause].text in told.message
        assert cause in told.values["reasons"]


def test_causes_of_before_are_not_told_once_the_gate_is_inactive():
    told = gate_diagnosis("safety_supervisor", Mode.INACTIVE, ("plan_ran_out",))
    assert CAUSES["plan_ran_out"].text not in told.message

"""All parameters of the supervisor node."""

from __future__ import annotations

from salus_ros.nodes.command_output import OUTPUT_PARAMETERS
from salus_ros.nodes.detector_parameters import DETECTOR_PARAMETERS
from salus_ros.nodes.gate_parameters import (
    GATE_PARAMETERS,
    REQUIRE_ENABLE,
    REQUIRE_ROBOT,
    WORKSPACE,
)
from salus_ros.nodes.journal_parameters import JOURNAL_PARAMETERS
from salus_ros.nodes.parameters import Parameter
from salus_ros.nodes.plan_input import INPUT_PARAMETERS
from salus_ros.nodes.robot_description import URDF_PARAMETERS
from salus_ros.nodes.robot_parameters import LIMITS, ROBOT_PARAMETERS

PARAMETERS = (
    *ROBOT_PARAMETERS,
    LIMITS,
    *URDF_PARAMETERS,
    *INPUT_PARAMETERS,
    *OUTPUT_PARAMETERS,
    *GATE_PARAMETERS,
    REQUIRE_ENABLE,
    REQUIRE_ROBOT,
    WORKSPACE,
    *DETECTOR_PARAMETERS,
    *JOURNAL_PARAMETERS,
    Parameter(
        "discovery_time",
        3.0,
        "Age of the node [s] before it can be configured: until then discovery may not have found "
        "another publisher of commands. DDS announces itself every 3 s.",
        0.0,
        60.0,
    ),
    Parameter("require_prediction", True, "HOLD without a fresh, valid failure prediction."),
    Parameter("require_manager", True, "HOLD without the lifecycle manager's heartbeat."),
    Parameter("prediction_age", 0.5, "Largest age of a required prediction [s].", 0.05, 10.0),
    Parameter(
        "manager_age", 2.0, "Largest age of a required heartbeat of the manager [s].", 0.5, 60.0
    ),
    Parameter("realtime_priority", 80, "Priority under SCHED_FIFO; 0: default scheduler.", 0, 98),
)

"""All parameters of the policy node."""

from __future__ import annotations

from salus_ros.nodes.parameters import Parameter
from salus_ros.nodes.robot_parameters import ROBOT_PARAMETERS
from salus_ros.policy.merging import MERGING_MODES, RTC_SCHEDULES
from salus_ros.policy.registry import BACKEND_NAMES, DEFAULT_BACKEND

PRECISIONS = ("", "float32", "bfloat16", "int8", "int4", "int8-torchao", "int4-torchao")

# Options of the policy; one left empty is not given to it.
POLICY_OPTIONS = (
    Parameter("checkpoint", "", "Weights of the policy: a file or folder, or an id on the hub."),
    Parameter("mapping", "", "File that says how a LeRobot policy's features fit this robot."),
    Parameter("device", "", "Where the policy runs: cpu, cuda, ...; empty: CUDA if there is one."),
    Parameter("precision", "", "Type of the policy's weights; empty: float32.", choices=PRECISIONS),
    Parameter(
        "action_samples",
        0,
        "Noise draws per chunk for the action distribution; 1: none; 0: the policy's default.",
        minimum=0,
        maximum=64,
    ),
    Parameter(
        "dropout_passes",
        0,
        "Stochastic passes of the action expert's dropout (MC dropout); 0: none.",
        minimum=0,
        maximum=16,
    ),
    Parameter(
        "speed",
        0.0,
        "Speed of the policy's motions over that of its demonstrations; 0: as demonstrated.",
        minimum=0.0,
        maximum=1.5,
    ),
    Parameter(
        "early_exit",
        "",
        "Early-exit setting of the policy's checkpoint, `certified` for one; empty or off: none.",
    ),
)
# Parameters that a policy is told where it asks for them.
TOLD_TO_POLICY = ("joint_names", "gripper_name", "execution_horizon")

PARAMETERS = (
    *ROBOT_PARAMETERS,
    Parameter("policy", DEFAULT_BACKEND, "Policy to run.", choices=BACKEND_NAMES),
    Parameter(
        "deploy",
        "",
        "File of `salus compile`: takes the place of policy, its options and execution_horizon.",
    ),
    *POLICY_OPTIONS,
    Parameter(
        "camera_topics",
        "",
        "Topics of cameras that aren't on /camera/<name>/image_raw: front=/zed/rgb/image, ...",
    ),
    Parameter(
        "merging", "latest", "How a new chunk is merged with the plan.", choices=MERGING_MODES
    ),
    Parameter(
        "execution_horizon",
        10,
        "Rows of a chunk that are executed before the next one is wanted.",
        minimum=1,
        maximum=1000,
    ),
    Parameter(
        "latency_percentile",
        95.0,
        "Percentile of recent latencies that the next inference is started early for.",
        minimum=50.0,
        maximum=100.0,
    ),
    Parameter(
        "rtc_schedule",
        "exp",
        "Soft mask that guides the policy's sampler along the plan, in merging mode rtc.",
        choices=RTC_SCHEDULES,
    ),
    Parameter(
        "injected_latency",
        0.0,
        "For tests: each inference takes longer by a random time from 0 to this [s].",
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        "joint_state_age",
        0.1,
        "Largest age of a joint state [s]; an older one is not inferred from.",
        minimum=0.01,
        maximum=10.0,
    ),
    Parameter(
        "image_age",
        0.5,
        "Largest age of an image [s]; an older one is not inferred from.",
        minimum=0.01,
        maximum=10.0,
    ),
)

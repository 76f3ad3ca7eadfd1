"""Another policy than a parameter file's, in place of it.

What the file says for its own policy is no use for another: the policy's options, and what was
calibrated or trained on its motions.
"""

from __future__ import annotations

from pathlib import Path

from salus_ros.resources import file_parameter

POLICY_NODE = "vla_policy"
# Options of a policy, by vla_policy's parameters; the device is the machine's.
OWN_OPTIONS = (
    "checkpoint",
    "mapping",
    "precision",
    "action_samples",
    "dropout_passes",
    "speed",
    "early_exit",
    "deploy",
)
OF_ITS_MOTIONS = {
    "safety_supervisor": "detector_calibration",
    "failure_predictor": "checkpoint",
}


def choose_policy(file: Path, policy: str) -> dict[str, dict[str, object]]:
    """Parameters by node that put a policy in place of the file's; none for the file's own.

    Without them a node would refuse the options of another policy, and detectors would take its
    normal motion for faults.
    """
    if not policy or policy == file_parameter(file, POLICY_NODE, "policy"):
        return {}
    given = {name: file_parameter(file, POLICY_NODE, name) for name in OWN_OPTIONS}
    # Empty, or 0: not given.
    own = {name: type(value)() for name, value in given.items() if value}
    others = {
        node: {name: ""}
        for node, name in OF_ITS_MOTIONS.items()
        if file_parameter(file, node, name)
    }
    return {POLICY_NODE: {"policy": policy, **own}, **others}

"""The flow policy of the simulated Panda."""

from __future__ import annotations

from salus_ros.policy.flow.config import FlowConfig
from salus_ros.sim.tasks import TASKS
from salus_ros.sim.world import CAMERAS, GRIPPER_NAME, JOINT_NAMES


def panda_config() -> FlowConfig:
    """For the rig's joints, cameras and instructions."""
    return FlowConfig(
        joint_names=JOINT_NAMES,
        gripper_name=GRIPPER_NAME,
        cameras=CAMERAS,
        instructions=tuple(task.instruction for task in TASKS),
    )

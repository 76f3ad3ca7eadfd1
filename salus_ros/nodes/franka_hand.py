"""The Franka Hand behind franka_gripper's actions: one goal at a time, the newest wanted."""

from __future__ import annotations

import time
from typing import Any

from rclpy.action import ActionClient

from salus_ros.franka.gripper import GripperGoal, GripperGoals, GripperSettings
from salus_ros.nodes.base_node import NodeBasics
from salus_ros.nodes.franka_messages import franka_type
from salus_ros.supervision.limits import GripperLimits

# s; the longest move takes 8. A driver that is started anew never answers for its old goals.
LONGEST_GOAL = 30.0


class FrankaHand:
    """Sends goals; one that is under way is cancelled, and its end awaited, before another."""

    def __init__(self, node: NodeBasics, name: str, limits: GripperLimits) -> None:
        """name: of the gripper's node, such as /fr3/franka_gripper. Raises ParameterError."""
        self._node = node
        self._limits = limits
        control = node.parameter("gripper_control")
        self._goals = GripperGoals(GripperSettings(control, limits.closed, limits.open))
        self._move_type = franka_type("action", "Move")
        self._grasp_type = franka_type("action", "Grasp")
        self._move = ActionClient(node, self._move_type, f"{name}/move")
        self._grasp = ActionClient(node, self._grasp_type, f"{name}/grasp")
        self._busy = False
        self._goal = GripperGoal(limits.open, grasp=False)
        self._number = 0
        self._sent = 0.0
        self._under_way: Any = None
        self._next: GripperGoal | None = None

    def command(self, width: float, measured: float) -> None:
        """A commanded opening width [m], and the measured one."""
        if self._busy and time.monotonic() - self._sent > LONGEST_GOAL:
            self._number += 1
            self._end(f"no answer within {LONGEST_GOAL:g} s")
        goal = self._goals.command(width, measured, time.monotonic_ns())
        if goal is None:
            return
        if not self._busy:
            self._send(goal)
            return
        self._next = goal
        if self._under_way is not None:
            self._under_way.cancel_goal_async()

    def _send(self, goal: GripperGoal) -> None:
        client, request = self._request(goal)
        self._goal = goal
        if not client.server_is_ready():
            self._end("franka_gripper doesn't answer: was its driver started with the hand?")
            return
        self._busy, self._under_way, self._sent = True, None, time.monotonic()
        self._number += 1
        number = self._number
        future = client.send_goal_async(request)
        future.add_done_callback(self._node.guarded(lambda f: self._on_answer(number, f.result())))

    def _request(self, goal: GripperGoal) -> tuple[ActionClient, Any]:
        speed = self._node.parameter("gripper_speed")
        if not goal.grasp:
            return self._move, self._move_type.Goal(width=goal.width, speed=speed)
        request = self._grasp_type.Goal(width=goal.width, speed=speed)
        request.force = self._node.parameter("gripper_force")
        # Whatever is between the fingers is held.
        request.epsilon.inner = goal.width - self._limits.closed
        request.epsilon.outer = self._limits.open - goal.width
        return self._grasp, request

    def _on_answer(self, number: int, handle: Any) -> None:
        if number != self._number:  # given up meanwhile
            if handle.accepted:
                handle.cancel_goal_async()
            return
        if not handle.accepted:
            self._end("refused")
            return
        self._under_way = handle
        if self._next is not None:
            handle.cancel_goal_async()
        future = handle.get_result_async()
        future.add_done_callback(
            self._node.guarded(lambda f: self._on_result(number, f.result().result))
        )

    def _on_result(self, number: int, result: Any) -> None:
        if number == self._number:
            self._end("" if result.success else result.error or "not reached")

    def _end(self, problem: str) -> None:
        self._busy, self._under_way = False, None
        following, self._next = self._next, None
        if following is not None:
            self._send(following)
        elif problem:
            again = self._goals.failed(time.monotonic_ns())
            what = f"gripper to {self._goal.width:g} m: {problem}"
            self._node.report(
                "gripper", what if again else f"{what}; given up until it is told anew"
            )
        else:
            self._node.recovered("gripper")

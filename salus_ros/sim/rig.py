"""The simulated rig: the Panda, its controller, blocks, cameras and episodes, on one clock.

A rig has no thread and no wall clock: time passes in `advance` alone, so the same calls give the
same states. Time is the rig's, in integer nanoseconds from 0 at construction; it goes on over
resets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from salus_ros.interfaces import BlockPose, FloatArray, JointCommand, JointState, Observation
from salus_ros.sim.controller import ControllerConfig, ControllerStatus, JointController
from salus_ros.sim.disturbances import Disturbance, draw_disturbance, from_the_start
from salus_ros.sim.engine import mujoco
from salus_ros.sim.episode import Episode, EpisodeStatus, FailureEvent, Moment, Phase
from salus_ros.sim.faults import Faults, wrong_task
from salus_ros.sim.gripper import MAX_WIDTH, actuator_command, opening_width
from salus_ros.sim.rendering import CameraRenderer, Image, Snapshot
from salus_ros.sim.scene import build_scene, parking_place, yaw_quaternion
from salus_ros.sim.tasks import Task, draw_blocks, draw_free_place, parse_instruction
from salus_ros.sim.world import CAMERAS, COLORS, DISTRACTOR, HOME, TIME_STEP

JUDGE_EVERY = 5
"""Physics steps between two looks at the episode; collisions are looked for at each step."""
_GRIPPER = 7
_HISTORY = 300
"""Snapshots kept for latency: 3 s at 100 Hz."""


@dataclass(frozen=True, slots=True)
class RigConfig:
    """Parameters of the rig.

    image_size px (square). time_limit of an episode [ns]. collision_force [N]: net contact force
    of the robot on an object, the table or itself that is a collision.
    """

    image_size: int = 128
    time_limit: int = 15_000_000_000
    collision_force: float = 25.0
    controller: ControllerConfig = field(default_factory=ControllerConfig)

    def __post_init__(self) -> None:
        if not 16 <= self.image_size <= 1024:
            raise ValueError(f"image_size {self.image_size} px is outside 16 to 1024")
        if self.time_limit <= 0 or not self.collision_force > 0:
            raise ValueError("time_limit and collision_force must be above 0")


class Rig:
    """A simulated Panda at a table, used from one thread.

    Only `CameraRenderer`s made from `rig.scene` may work in other threads, on its snapshots.
    """

    def __init__(self, config: RigConfig | None = None) -> None:
        """Build the scene and stand at home, with no episode running.

        Raises FileNotFoundError where gym-hil's model is missing.
        """
        self.config = config or RigConfig()
        self.scene = build_scene(self.config.image_size)
        self._model = self.scene.model
        self._data = mujoco.MjData(self._model)
        self._controller = JointController(self.config.controller)
        self._renderer: CameraRenderer | None = None
        self._time = 0
        self._steps = 0
        self._episode_start = 0
        self._episode: Episode | None = None
        self._status = EpisodeStatus(0, 0, "", "", Phase.ENDED)
        self._task: Task | None = None
        self._policy_instruction = ""
        self._present: tuple[str, ...] = ()
        self._faults = Faults(self.scene, None, "red")
        self._history: deque[Snapshot] = deque(maxlen=_HISTORY)
        # Views into MuJoCo's arrays; fetching them anew costs more than the arithmetic.
        self._qpos, self._qvel = self._data.qpos[:7], self._data.qvel[:7]
        self._bias, self._ctrl = self._data.qfrc_bias[:7], self._data.ctrl
        self._forces = self._data.sensordata
        self._bound = self.config.collision_force**2
        self._place_robot()
        self._place_blocks(())

    # --- episodes ---

    def reset(
        self, instruction: str, seed: int, disturbance: str | Disturbance | None = None
    ) -> EpisodeStatus:
        """Begin an episode: robot at home and at rest, blocks drawn from the seed.

        disturbance: a name, whose onset and magnitude are drawn from the seed, or one with both.
        The arm is put home at once, so whoever commands it must start anew from its position.
        Raises ValueError for an unknown instruction or disturbance, or a negative seed.
        """
        task = parse_instruction(instruction)
        if seed < 0:
            raise ValueError(f"seed {seed} is negative")
        if isinstance(disturbance, str):
            # A stream of its own, so that the start state is that of the undisturbed episode.
            rng = np.random.default_rng([seed, 1])
            disturbance = draw_disturbance(disturbance, rng) if disturbance else None
        self._faults.clear()
        self._faults = Faults(self.scene, disturbance, task.color)
        self._task = task
        blocks = draw_blocks(np.random.default_rng([seed, 0]), task, self._faults.block_shift)
        self._place_robot()
        self._place_blocks(blocks, seed)
        self._start_episode(task, seed, disturbance)
        return self.episode

    def disturb(self, disturbance: Disturbance | None) -> None:
        """Begin a disturbance now, whatever its onset says; None: end the one in force.

        Raises ValueError without a running episode, or for one that is part of the start state.
        """
        if self._episode is None or not self._episode.running or self._task is None:
            raise ValueError("no episode is running: reset the rig first")
        if disturbance is not None and from_the_start(disturbance.name):
            raise ValueError(
                f"{disturbance.name} is part of the start state: reset the rig with it"
            )
        self._faults.clear()
        self._data.qfrc_applied[:] = 0.0
        if disturbance is not None:
            disturbance = replace(disturbance, onset=self._time - self._episode_start)
            self._episode.status = replace(self._episode.status, disturbance=disturbance.name)
            self._status = self._episode.status
        self._faults = Faults(self.scene, disturbance, self._task.color)
        self._remember()

    def _start_episode(self, task: Task, seed: int, disturbance: Disturbance | None) -> None:
        told = task
        if disturbance is not None and disturbance.name == "wrong_instruction":
            told = wrong_task(task, self._present, np.random.default_rng([seed, 2]))
        self._policy_instruction = told.instruction
        self._episode_start = self._time
        self._steps = 0
        self._history.clear()
        name = disturbance.name if disturbance else ""
        status = EpisodeStatus(self._status.number + 1, seed, task.instruction, name)
        self._status = status
        self._episode = Episode(status, task, self._block_places(), self.config.time_limit)
        self._remember()

    def _place_robot(self) -> None:
        mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:7] = HOME
        self._controller.reset(HOME, MAX_WIDTH)
        self._width = MAX_WIDTH

    def _place_blocks(self, blocks: tuple[BlockPose, ...], seed: int = 0) -> None:
        for name in (*COLORS, DISTRACTOR):
            self._place(name, np.array(parking_place(name)), 0.0)
        for block in blocks:
            self._place(block.color, block.position, block.yaw)
        self._present = tuple(c for c in COLORS if c in {b.color for b in blocks})
        if self._faults.name == DISTRACTOR:
            place = draw_free_place(np.random.default_rng([seed, 3]), blocks)
            self._place(DISTRACTOR, np.array([*place, 0.02]), 0.0)
        mujoco.mj_forward(self._model, self._data)

    def _place(self, name: str, position: FloatArray, yaw: float) -> None:
        a = self.scene.block_qpos[name]
        self._data.qpos[a : a + 3] = position
        self._data.qpos[a + 3 : a + 7] = yaw_quaternion(yaw)

    # --- time ---

    def advance(self, duration: int) -> None:
        """Let `duration` [ns] pass: a multiple of the physics step of 2 ms.

        Raises ValueError for another duration.
        """
        steps, rest = divmod(duration, TIME_STEP)
        if rest or steps < 0:
            raise ValueError(f"{duration} ns isn't a multiple of {TIME_STEP} ns")
        for _ in range(steps):
            self._step()

    def _step(self) -> None:
        controller, ctrl = self._controller, self._ctrl
        controller.step(TIME_STEP)
        torques = controller.torques(self._qpos, self._qvel, self._bias)
        if self._faults.active:
            torques = self._faults.apply(self._data, torques, self._time - self._episode_start)
        ctrl[:7] = torques
        if controller.width != self._width:
            self._width = controller.width
            ctrl[_GRIPPER] = actuator_command(self._width)
        mujoco.mj_step(self._model, self._data)
        self._time += TIME_STEP
        self._steps += 1
        forces = self._forces
        # One product bounds all forces; only when it is exceeded are they looked at singly.
        if forces.dot(forces) > self._bound:
            self._look_for_collision()
        if self._steps % JUDGE_EVERY == 0:
            self._judge()
            self._remember()

    def _look_for_collision(self) -> None:
        forces = np.linalg.norm(self._forces.reshape(-1, 3), axis=1)
        worst = int(forces.argmax())
        if self._episode is not None and forces[worst] > self.config.collision_force:
            what = self.scene.collision_pairs[worst]
            self._episode.collide(self._time - self._episode_start, what)
            self._status = self._episode.status

    def _judge(self) -> None:
        if self._episode is None or not self._episode.running:
            return
        jacobian = np.zeros((3, self._model.nv))
        mujoco.mj_jacSite(self._model, self._data, jacobian, None, self.scene.tool_site)
        moment = Moment(
            time=self._time - self._episode_start,
            grasped=self.grasped,
            blocks=self._block_places(),
            tool=self.tool_point,
            tool_speed=float(np.linalg.norm(jacobian[:, :7] @ self._qvel)),
            opening=opening_width(float(self._data.qpos[_GRIPPER])),
            commanded_opening=self._controller.width_goal,
        )
        self._episode.judge(moment)
        self._status = self._episode.status

    def _remember(self) -> None:
        # Only latency looks back, and it must find what was before its onset, too.
        if self._faults.name == "latency":
            self._history.append(self._take())

    # --- robot ---

    def command(self, command: JointCommand) -> bool:
        """Hand the robot one sample of its motion; False where it refuses it (see `robot`).

        Accelerations aren't used. Positions [7] rad, velocities [7] rad/s, gripper m.
        """
        return self._controller.command(command)

    @property
    def robot(self) -> ControllerStatus:
        """State of the robot's side: holding, following or braking; refused commands."""
        return self._controller.status

    def joint_state(self) -> JointState:
        """Measured state now; efforts are the motors' torques."""
        return JointState(
            stamp=self._time,
            positions=self._qpos.copy(),
            velocities=self._qvel.copy(),
            efforts=self._data.actuator_force[:7].copy(),
            gripper=opening_width(float(self._data.qpos[_GRIPPER])),
        )

    # --- what can be seen ---

    @property
    def time(self) -> int:
        """The rig's clock [ns]."""
        return self._time

    @property
    def episode(self) -> EpisodeStatus:
        """State of the newest episode; number 0 before the first."""
        return self._status

    @property
    def events(self) -> tuple[FailureEvent, ...]:
        """All failures of the newest episode so far, in order of their detection."""
        return tuple(self._episode.events) if self._episode else ()

    @property
    def disturbance(self) -> Disturbance | None:
        """The disturbance of the newest episode, with its onset and magnitude."""
        return self._faults.disturbance

    @property
    def policy_instruction(self) -> str:
        """What the policy is told: the episode's instruction but under wrong_instruction."""
        return self._policy_instruction

    @property
    def grasped(self) -> str | None:
        """Colour of the block that both fingers touch."""
        labels, touched = self.scene.labels, [set[int](), set[int]()]
        for first, second in self._data.contact.geom.tolist():
            pair = sorted((labels[first], labels[second]))
            if pair[0] in (1, 2) and pair[1] >= 10:
                touched[pair[0] - 1].add(pair[1])
        both = touched[0] & touched[1]
        return COLORS[min(both) - 10] if both else None

    @property
    def tool_point(self) -> FloatArray:
        """Point between the fingertips [3] m."""
        point: FloatArray = self._data.site_xpos[self.scene.tool_site].copy()
        return point

    def blocks(self) -> tuple[BlockPose, ...]:
        """True poses of the blocks on the table or in the hand."""
        return tuple(
            BlockPose(color, place, _yaw(self._quaternion(color)))
            for color, place in self._block_places().items()
        )

    def _block_places(self) -> dict[str, FloatArray]:
        qpos, first = self._data.qpos, self.scene.block_qpos
        return {c: qpos[first[c] : first[c] + 3].copy() for c in self._present}

    def _quaternion(self, color: str) -> FloatArray:
        a = self.scene.block_qpos[color]
        quaternion: FloatArray = self._data.qpos[a + 3 : a + 7]
        return quaternion

    def snapshot(self) -> Snapshot:
        """The rig as cameras and policy see it: now, or some time ago under latency."""
        delay = self._faults.observation_delay(self._time - self._episode_start)
        if not delay:
            return self._take()
        late = [s for s in self._history if s.stamp <= self._time - delay]
        return late[-1] if late else self._history[0]

    def _take(self) -> Snapshot:
        fault = self._faults.camera_fault(self._time - self._episode_start)
        return Snapshot(
            self._time, self._data.qpos.copy(), self.joint_state(), self.blocks(), fault
        )

    def images(self, cameras: Iterable[str] = CAMERAS) -> dict[str, Image]:
        """Camera images of `snapshot()`, [size, size, 3] uint8 RGB by camera name."""
        return self._render(self.snapshot(), cameras)

    def observe(self, cameras: Iterable[str] = CAMERAS) -> Observation:
        """All that a policy may read, from one moment: the lock-step runner's way to observe."""
        snapshot, cameras = self.snapshot(), tuple(cameras)
        return Observation(
            stamp=snapshot.stamp,
            joints=snapshot.joints,
            instruction=self._policy_instruction,
            images=self._render(snapshot, cameras) if cameras else {},
            privileged_blocks=snapshot.blocks,
        )

    def _render(self, snapshot: Snapshot, cameras: Iterable[str]) -> dict[str, Image]:
        if self._renderer is None:
            self._renderer = CameraRenderer(self.scene, self.config.image_size)
        return self._renderer.render(snapshot, cameras)

    @property
    def mujoco_data(self) -> Any:
        """MuJoCo's state, for a window; to be read only."""
        return self._data

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def _yaw(quaternion: FloatArray) -> float:
    """Yaw [rad] of a cube: of its first axis, or of its second where the first stands upright."""
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quaternion)
    axes = matrix.reshape(3, 3).T
    axis = axes[0] if abs(axes[0][2]) < 0.7 else axes[1]
    return float(np.arctan2(axis[1], axis[0]))

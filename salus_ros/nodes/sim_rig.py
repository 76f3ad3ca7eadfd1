"""The simulated Panda in real time: the topics of the real arm, plus episodes and disturbances."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, replace

import numpy as np
from rclpy.clock import Clock as RosClock
from rclpy.clock import ClockType
from rosgraph_msgs.msg import Clock
from salus_msgs.msg import Episode as EpisodeMessage
from sensor_msgs.msg import Image
from sensor_msgs.msg import JointState as JointStateMessage
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import MarkerArray

from salus_ros.interfaces import nanoseconds, seconds
from salus_ros.nodes import conversions, qos, topics
from salus_ros.nodes.base_node import PlainNode
from salus_ros.nodes.parameters import Parameter
from salus_ros.nodes.robot_parameters import ROBOT_PARAMETERS
from salus_ros.nodes.run import run
from salus_ros.sim.controller import ControllerMode
from salus_ros.sim.disturbances import KINDS, Disturbance, draw_disturbance
from salus_ros.sim.episode import Phase
from salus_ros.sim.rendering import CameraRenderer, Snapshot
from salus_ros.sim.rig import Rig, RigConfig
from salus_ros.sim.window import RigWindow
from salus_ros.sim.world import BLOCK_SIZE, CAMERAS, TIME_STEP

BLOCKS_PERIOD = 30_000_000  # ns between two messages of the blocks' true poses
LONGEST_LAG = 100_000_000  # ns; a longer stall is time that the rig loses

PARAMETERS = (
    *ROBOT_PARAMETERS,
    Parameter("seed", 0, "Seed of the next reset's start state.", 0, 2**31 - 1, tunable=True),
    Parameter(
        "instruction", "pick up the red block", "Task of the next reset, in words.", tunable=True
    ),
    Parameter(
        "disturbance",
        "",
        "Disturbance of the next reset; empty: none.",
        choices=("", *KINDS),
        tunable=True,
    ),
    Parameter(
        "disturbance_onset",
        -1.0,
        "When it begins in the episode [s]; -1: drawn from the seed.",
        -1.0,
        3600.0,
        tunable=True,
    ),
    Parameter(
        "disturbance_magnitude",
        -1.0,
        "How strong it is, in its own unit; -1: drawn from the seed.",
        -1.0,
        1e6,
        tunable=True,
    ),
    Parameter("reset_at_start", True, "Begin an episode at once."),
    Parameter("time_limit", 15.0, "Length of an episode [s].", minimum=1.0, maximum=3600.0),
    Parameter("joint_state_rate", 100.0, "Joint states per second [Hz].", 100.0, 500.0),
    Parameter("camera_rate", 10.0, "Images per camera and second [Hz].", 1.0, 60.0),
    Parameter("image_size", 128, "Width and height of the images [px].", 32, 512),
    Parameter("window", False, "Show the rig in a window."),
    Parameter("publish_clock", False, "Publish the rig's time on /clock."),
)


@dataclass(frozen=True)
class _Shot:
    snapshot: Snapshot
    stamp: int


class SimRig(PlainNode):
    """Physics in the executor's timer, rendering in a thread of its own (OpenGL is bound to it)."""

    def __init__(self) -> None:
        super().__init__("sim_rig", PARAMETERS)
        self._names = tuple(self.parameter("joint_names"))
        self._gripper = self.parameter("gripper_name")
        self._rig = Rig(
            RigConfig(
                image_size=self.parameter("image_size"),
                time_limit=nanoseconds(self.parameter("time_limit")),
            )
        )
        # ROS time of the rig's time 0; moves on where the rig loses time.
        self._system_clock = RosClock(clock_type=ClockType.SYSTEM_TIME)
        self._epoch = self._wall_time()
        self._window = RigWindow(self._rig) if self.parameter("window") else None
        self._make_publishers()
        self._make_inputs()
        if self.parameter("reset_at_start"):
            self._reset()
        self._shot: _Shot | None = None
        self._shot_ready = threading.Event()
        self._closing = False
        self._camera_thread = threading.Thread(
            target=self._render_until_closed, args=(self._rig.snapshot(),), name="cameras"
        )
        self._camera_thread.start()
        self._next_shot = self._next_blocks = 0
        period = 1.0 / self.parameter("joint_state_rate")
        # With its own /clock the rig can't be driven by that clock.
        steady = RosClock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(period, self.guarded(self._tick), clock=steady)

    def _make_publishers(self) -> None:
        self._joints = self.create_publisher(JointStateMessage, topics.JOINT_STATES, qos.SENSOR)
        self._episodes = self.create_publisher(EpisodeMessage, topics.SIM_EPISODE, qos.EVENTS)
        self._blocks = self.create_publisher(MarkerArray, topics.SIM_BLOCKS, qos.SENSOR)
        self._instruction = self.create_publisher(String, topics.INSTRUCTION, qos.STATE)
        self._cameras = {
            camera: self.create_publisher(Image, topics.CAMERA.format(camera=camera), qos.SENSOR)
            for camera in CAMERAS
        }
        self._clock_out = self.create_publisher(Clock, topics.CLOCK, qos.SENSOR)
        self._published_episode: object = None

    def _make_inputs(self) -> None:
        # Nothing is asked of deadline and lifespan: the rig has a command timeout of its own.
        profile = qos.PLAN
        on_command = self.guarded(self._on_command)
        self.create_subscription(JointStateMessage, topics.JOINT_COMMANDS, on_command, profile)
        self.create_service(Trigger, topics.SIM_RESET, self._on_reset)
        self.create_service(SetBool, topics.SIM_DISTURB, self._on_disturb)

    # Time.

    def _tick(self) -> None:
        """Let the rig catch up with the wall clock, then publish what it measures."""
        lag = self._wall_time() - self._epoch - self._rig.time
        if lag > LONGEST_LAG:
            self.get_logger().warning(
                f"the rig lost {seconds(lag):.3f} s: this machine is too busy"
            )
            self._epoch += lag - LONGEST_LAG
            lag = LONGEST_LAG
        if lag < TIME_STEP:
            return  # no two measurements carry one stamp
        self._rig.advance(lag // TIME_STEP * TIME_STEP)
        self._publish_joints()
        self._publish_episode()
        if self._rig.time >= self._next_blocks:
            self._next_blocks = self._rig.time + BLOCKS_PERIOD
            self._publish_blocks()
            if self._window is not None and self._window.open:
                self._window.show()
        if self._rig.time >= self._next_shot:
            self._next_shot = self._rig.time + round(1e9 / self.parameter("camera_rate"))
            self._take_shot()

    def _wall_time(self) -> int:
        return int(self._system_clock.now().nanoseconds)

    def _stamp(self, rig_time: int) -> int:
        return self._epoch + rig_time

    # Output.

    def _publish_joints(self) -> None:
        stamp = self._stamp(self._rig.time)
        if self.parameter("publish_clock"):
            self._clock_out.publish(Clock(clock=conversions.time_message(stamp)))
        state = replace(self._rig.joint_state(), stamp=stamp)
        self._joints.publish(conversions.joint_state_message(state, self._names, self._gripper))

    def _publish_episode(self) -> None:
        status = self._rig.episode
        if status is self._published_episode or not status.number:
            return
        self._published_episode = status
        stamp = self._stamp(self._rig.time)
        self._episodes.publish(conversions.episode_message(status, stamp))
        if status.phase is Phase.ENDED:
            outcome = "success" if status.success else status.failure_type or "aborted"
            self.get_logger().info(f"episode {status.number}: {outcome} after {status.end:.2f} s")

    def _publish_blocks(self) -> None:
        snapshot = self._rig.snapshot()
        stamp = self._stamp(snapshot.stamp)
        self._blocks.publish(conversions.block_markers(snapshot.blocks, stamp, BLOCK_SIZE))

    def _take_shot(self) -> None:
        snapshot = self._rig.snapshot()
        stamp = self._stamp(snapshot.stamp)
        if any(p.get_subscription_count() for p in self._cameras.values()):
            self._shot = _Shot(snapshot, stamp)
            self._shot_ready.set()

    def _render_until_closed(self, first: Snapshot) -> None:
        try:
            # At once, while nothing moves: the first image holds the interpreter, and the arm's
            # loop with it, for a fifth of a second.
            renderer = CameraRenderer(self._rig.scene, self.parameter("image_size"))
            renderer.render(first)
        except RuntimeError as error:
            self.get_logger().warning(f"no camera images: {error}")
            return
        while not self._closing:
            if not self._shot_ready.wait(0.2):
                continue
            self._shot_ready.clear()
            if self._shot is not None:
                self.guarded(self._render)(renderer, self._shot)
        renderer.close()

    def _render(self, renderer: CameraRenderer, shot: _Shot) -> None:
        for camera, image in renderer.render(shot.snapshot).items():
            message = conversions.image_message(image, shot.stamp, f"{camera}_camera")
            self._cameras[camera].publish(message)

    # Input.

    def _on_command(self, message: JointStateMessage) -> None:
        try:
            command = conversions.command(message, self._names, self._gripper)
        except ValueError as error:
            self.report("command", f"command refused: {error}")
            return
        if self._rig.command(command):
            self.recovered("command")
        else:
            self.report("command", f"command refused: {self._rig.robot.rejection}")

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._rig.robot.mode is ControllerMode.FOLLOWING:
            response.message = "the arm follows commands: deactivate the supervisor first"
            return response
        try:
            self._reset()
        except ValueError as error:
            response.message = str(error)
            return response
        response.success = True
        response.message = f"episode {self._rig.episode.number}"
        return response

    def _reset(self) -> None:
        status = self._rig.reset(
            self.parameter("instruction"),
            self.parameter("seed"),
            self._disturbance(),
        )
        self._instruction.publish(String(data=self._rig.policy_instruction))
        # The arm has been put home: nobody should go on with where it was, under the same stamp.
        self._rig.advance(TIME_STEP)
        self._publish_joints()
        what = f", disturbance {status.disturbance}" if status.disturbance else ""
        self.get_logger().info(
            f"episode {status.number}: {status.instruction}, seed {status.seed}{what}"
        )

    def _disturbance(self) -> Disturbance | None:
        """The configured disturbance; what isn't given of it is drawn from the seed."""
        name = self.parameter("disturbance")
        if not name:
            return None
        drawn = draw_disturbance(name, np.random.default_rng([self.parameter("seed"), 1]))
        onset, magnitude = (self.parameter(f"disturbance_{n}") for n in ("onset", "magnitude"))
        return replace(
            drawn,
            onset=drawn.onset if onset < 0 else nanoseconds(onset),
            magnitude=drawn.magnitude if magnitude < 0 else magnitude,
        )

    def _on_disturb(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Begin the configured disturbance now (true), or end the one in force (false)."""
        disturbance = self._disturbance() if request.data else None
        if request.data and disturbance is None:
            response.message = "set the parameter 'disturbance' first"
            return response
        try:
            self._rig.disturb(disturbance)
        except ValueError as error:
            response.message = str(error)
            return response
        response.success = True
        return response

    def close(self) -> None:
        """End the camera thread, close the window."""
        self._closing = True
        self._camera_thread.join(5.0)
        if self._window is not None:
            self._window.close()
        self._rig.close()


def main() -> None:
    """Entry point."""
    sys.exit(run(SimRig))


if __name__ == "__main__":
    main()

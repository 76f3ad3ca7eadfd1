"""The policy node: camera images, joint states and an instruction in, plans out."""

from __future__ import annotations

import random
import sys
import threading
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from salus_msgs.msg import ActionChunk as ActionChunkMessage
from salus_msgs.msg import PolicyState as PolicyStateMessage
from sensor_msgs.msg import Image
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from salus_ros.deploy.deployment import Deployment, read_deployment
from salus_ros.interfaces import Instant, JointState
from salus_ros.nodes import conversions, qos, topics
from salus_ros.nodes.camera_topics import chosen_topics
from salus_ros.nodes.joint_input import subscribe_to_joints
from salus_ros.nodes.managed_node import ConfigurationError, ManagedNode
from salus_ros.nodes.policy_parameters import PARAMETERS, POLICY_OPTIONS, TOLD_TO_POLICY
from salus_ros.nodes.run import run
from salus_ros.policy.allocation import freed_at_once
from salus_ros.policy.backend import GuidedBackend
from salus_ros.policy.chunk_queue import QueueConfig
from salus_ros.policy.loop import InferenceLoop, LoopConfig, Outcome
from salus_ros.policy.observing import FreshnessBounds, ObservationBuffer
from salus_ros.policy.registry import (
    make_backend,
    option_names,
)

INPUT_GRACE = 0.5  # s without a whole observation until that is reported
POLL = 0.02  # s; longest sleep of the inference thread, so that it sees a new clock or a stop
LONGEST_INFERENCE = 30.0  # s; how long deactivation waits for an inference under way


class VlaPolicy(ManagedNode):
    """Inference runs in a thread of its own; the callbacks only store what arrives."""

    def __init__(self) -> None:
        super().__init__("vla_policy", PARAMETERS)
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def configure(self) -> None:
        """Load and warm up the policy; subscribe to its inputs."""
        self._names = tuple(self.parameter("joint_names"))
        self._gripper = self.parameter("gripper_name")
        self._say_which_core()
        deployment = self._deployment()
        self._policy = deployment.policy if deployment else self.parameter("policy")
        options = self._policy_options(deployment)
        with freed_at_once():
            self._backend = make_backend(self._policy, options)
            self._backend.warm_up()
        self._loop = InferenceLoop(
            self._backend,
            QueueConfig(
                joint_names=self._names,
                gripper_name=self._gripper,
                execution_horizon=(
                    deployment.execution_horizon
                    if deployment
                    else self.parameter("execution_horizon")
                ),
                merging=self.parameter("merging"),
                rtc_schedule=self.parameter("rtc_schedule"),
            ),
            self._instant,
            LoopConfig(percentile=self.parameter("latency_percentile")),
        )
        bounds = FreshnessBounds(self.parameter("joint_state_age"), self.parameter("image_age"))
        backend = self._backend
        self._buffer = ObservationBuffer(backend.cameras, backend.privileged, bounds)
        self._injected = self.parameter("injected_latency")
        self._draws = random.Random(0)
        self._say_what_is_unusual()
        self._subscribe_inputs()

    def _say_what_is_unusual(self) -> None:
        if self._injected:
            self.get_logger().warning(f"up to {self._injected:g} s of latency injected: for tests")
        if self.parameter("merging") == "rtc" and not isinstance(self._backend, GuidedBackend):
            self.get_logger().warning(
                f"policy '{self._policy}' can't be guided along the plan: merging "
                "'rtc' freezes what will be executed meanwhile and fades to the new chunk"
            )

    def _deployment(self) -> Deployment | None:
        """What `salus compile` chose, if a file of it is given."""
        file = self.parameter("deploy")
        if not file:
            return None
        deployment = read_deployment(Path(file).expanduser())
        deployment.check_weights()
        warning = deployment.other_hardware()
        if warning:
            self.get_logger().warning(f"{file}: {warning}")
        replaced = [o.name for o in POLICY_OPTIONS if self.parameter(o.name) not in ("", 0)]
        if replaced:
            self.get_logger().warning(f"{file} takes the place of {', '.join(replaced)}")
        return deployment

    def _policy_options(self, deployment: Deployment | None) -> dict[str, Any]:
        taken = option_names(self._policy)
        told = {name: self.parameter(name) for name in TOLD_TO_POLICY if name in taken}
        if deployment:
            told |= {"execution_horizon": deployment.execution_horizon} if told else {}
            return {**told, **deployment.options}
        given = {option.name: self.parameter(option.name) for option in POLICY_OPTIONS}
        return {**told, **{name: value for name, value in given.items() if value}}

    def _say_which_core(self) -> None:
        """The early-exit core that policies of this process use."""
        if find_spec("sedac_core") is None:
            self.get_logger().warning("sedac_core is missing, no early exit: run `make build`")
            return
        core = import_module("sedac_core")
        kind = "compiled" if core.COMPILED else "numpy fallback; install Rust, then `make build`"
        self.get_logger().info(f"early-exit core: {kind}")

    def _subscribe_inputs(self) -> None:
        subscribe_to_joints(self, self._names, self._gripper, self._take_joints)
        # Latched, for an instruction given before this node came; volatile, for `ros2 topic pub`,
        # whose publisher a latched subscription would not hear.
        self.subscribe(String, topics.INSTRUCTION, self._on_instruction, qos.STATE)
        self.subscribe(String, topics.INSTRUCTION, self._on_instruction, qos.PLAN)
        for camera, topic in self._camera_topics().items():
            self.subscribe(Image, topic, self._image_callback(camera), qos.SENSOR)
        if self._backend.privileged:
            self.subscribe(MarkerArray, topics.SIM_BLOCKS, self._on_blocks, qos.SENSOR)

    def _camera_topics(self) -> dict[str, str]:
        """Topic of each of the policy's cameras. Raises ConfigurationError."""
        usual = {name: topics.CAMERA.format(camera=name) for name in self._backend.cameras}
        try:
            return usual | chosen_topics(self.parameter("camera_topics"), usual)
        except ValueError as error:
            raise ConfigurationError(f"camera_topics: {error}") from error

    def activate(self) -> None:
        """Start inferring under a new source id."""
        self._chunks = self.publish_on(ActionChunkMessage, topics.ACTION_CHUNK, qos.PLAN)
        self._states = self.publish_on(PolicyStateMessage, topics.POLICY_STATE, qos.PLAN)
        self._buffer.clear()
        source_id = self._loop.activate()
        self.get_logger().info(f"policy '{self._policy}', source id {source_id}")
        self._stop.clear()
        self._last_input = time.monotonic()
        self._thread = threading.Thread(target=self._infer_until_stopped, name="inference")
        self._thread.start()

    def deactivate(self) -> None:
        """Stop inferring; an inference under way is waited for and dropped."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join(LONGEST_INFERENCE)
        if self._thread.is_alive():
            raise ConfigurationError(f"inference did not end within {LONGEST_INFERENCE:g} s")
        self._thread = None

    def _instant(self) -> Instant:
        return Instant(ros=self.now(), steady=time.monotonic_ns())

    # Inputs.

    def _take_joints(self, joints: JointState) -> str:
        self._buffer.on_joints(joints, self._instant())
        return ""

    def _image_callback(self, camera: str):  # type: ignore[no-untyped-def]
        def on_image(message: Image) -> None:
            try:
                image = conversions.image_array(message)
            except ValueError as error:
                self.report(f"image/{camera}", f"camera '{camera}': {error}")
                return
            self.recovered(f"image/{camera}")
            stamp = conversions.stamp_of(message.header.stamp)
            self._buffer.on_image(camera, image, stamp, self._instant())

        return on_image

    def _on_instruction(self, message: String) -> None:
        self._buffer.on_instruction(message.data)

    def _on_blocks(self, message: MarkerArray) -> None:
        if message.markers:
            stamp = conversions.stamp_of(message.markers[0].header.stamp)
            self._buffer.on_blocks(conversions.block_poses(message), stamp, self._instant())

    # Inference thread.

    def _infer_until_stopped(self) -> None:
        while not self._stop.is_set():
            wait = self._loop.wait_seconds(self._instant())
            if wait > 0.0:
                self._stop.wait(min(wait, POLL))
            else:
                self.guarded(self._infer)()

    def _infer(self) -> None:
        observation = self._buffer.observation(self._instant())
        if isinstance(observation, str):
            # Right after activation nothing has arrived yet, which is no error.
            if time.monotonic() - self._last_input > INPUT_GRACE:
                self.report("input", f"no plan: {observation}")
            self._stop.wait(POLL)
            return
        self._last_input = time.monotonic()
        self.recovered("input")
        outcome = self._loop.run(observation, self._inject_latency)
        if outcome.plan is None and not outcome.error:
            self._stop.wait(POLL / 10)  # nothing newer to look at yet
        if not self._stop.is_set():
            self._publish(outcome)

    def _inject_latency(self) -> None:
        if self._injected:
            self._stop.wait(self._draws.uniform(0.0, self._injected))

    def _publish(self, outcome: Outcome) -> None:
        if outcome.error:
            self.report("policy", f"no plan: {outcome.error}")
        if outcome.plan is None or outcome.state is None:
            return
        self.recovered("policy")
        self._chunks.publish(conversions.action_chunk_message(outcome.plan.chunk))
        self._states.publish(conversions.policy_state_message(outcome.state))


def main() -> None:
    """Entry point."""
    sys.exit(run(VlaPolicy))


if __name__ == "__main__":
    main()

"""A running graph, watched: what it commands, what it says, which nodes live."""

import os
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import GetState
from sensor_msgs.msg import JointState

from salus_ros.cli.graph import graph_processes, parameter_file
from salus_ros.cli.processes import MANAGER, POLICY, RIG, ProcessGroup, quiet_environment
from salus_ros.nodes import qos, topics
from salus_ros.nodes.conversions import stamp_of
from salus_ros.nodes.graph_client import GraphClient, GraphError
from salus_ros.policy_choice import choose_policy

PATIENCE = 30.0  # s; only a broken graph takes so long


class RunningGraph:
    """Starts all nodes on the simulated rig; a context manager."""

    def __init__(self, folder: Path, **parameters):
        # The scripted expert unless a test asks for another: it starts at once and costs nothing.
        policy = parameters.get(POLICY, {}).get("policy", "scripted_expert")
        base = {
            RIG: {"reset_at_start": False},
            MANAGER: {"autostart": False},
            **choose_policy(parameter_file("sim_panda"), policy),
        }
        if policy == "scripted_expert":
            base[POLICY] |= {"execution_horizon": 10, "merging": "latest"}
        for node, values in parameters.items():
            base[node] = {**base.get(node, {}), **values}
        self.folder = folder
        self.commands = []  # (trajectory stamp [ns], positions [7], velocities [7])
        self.joint_states = []
        self.states = []
        self.interventions = []
        self.diagnostics = {}  # newest status by name
        self._changed = threading.Condition()
        self._processes = graph_processes(parameter_file("sim_panda"), True, base)
        self._stack = ExitStack()

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _start(self):
        quiet_environment(None)
        self.client = self._stack.enter_context(
            GraphClient(lambda *_: None, self._on_intervention, self._on_state)
        )
        subscribe = self.client.node.create_subscription
        subscribe(JointState, topics.JOINT_COMMANDS, self._on_command, qos.EVERY_COMMAND)
        subscribe(JointState, topics.JOINT_STATES, self._on_joints, qos.SENSOR)
        subscribe(DiagnosticArray, topics.DIAGNOSTICS, self._on_diagnostics, 10)
        self.group = self._stack.enter_context(ProcessGroup(self._processes, self.folder))
        self.wait(self.client.services_ready, "rig and manager to answer")

    def __exit__(self, *exception):
        self._stack.__exit__(*exception)

    def _keep(self, store, item):
        with self._changed:
            store.append(item)
            self._changed.notify_all()

    def _on_command(self, message):
        arm = slice(0, 7)
        item = (
            stamp_of(message.header.stamp),
            np.array(message.position[arm]),
            np.array(message.velocity[arm]),
        )
        self._keep(self.commands, item)

    def _on_joints(self, message):
        self._keep(self.joint_states, np.array(message.velocity[:7]))

    def _on_state(self, message):
        self._keep(self.states, message)

    def _on_intervention(self, message):
        self._keep(self.interventions, message)

    def _on_diagnostics(self, message):
        with self._changed:
            self.diagnostics |= {status.name: status for status in message.status}
            self._changed.notify_all()

    @property
    def lost(self):
        """Names of what is reported as an error."""
        return {n for n, s in self.diagnostics.items() if s.level == DiagnosticStatus.ERROR}

    def wait(self, condition, what, timeout=PATIENCE):
        """Wait for an event; fails, saying for which, where it doesn't come."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.logs()}"
            with self._changed:
                self._changed.wait(0.05)

    def begin_episode(self, seed=10_000, instruction="pick up the red block"):
        """Reset the rig, bring the graph up, wait until the arm moves."""
        self.client.reset_rig(instruction=instruction, seed=seed, disturbance="")
        self.client.run(True)
        self.wait(self.moving, "the arm to move")

    def moving(self):
        return bool(self.commands) and np.abs(self.commands[-1][2]).max() > 0.05

    def mode(self):
        return self.states[-1].mode if self.states else 0

    def reasons(self):
        return list(self.states[-1].reasons) if self.states else []

    def kill(self, name):
        """kill -9."""
        os.kill(self.group.processes[name].pid, signal.SIGKILL)
        self.group.processes[name].wait()

    def alive(self):
        return {n for n, process in self.group.processes.items() if process.poll() is None}

    def lifecycle_state(self, node):
        """Label of the node's state; "" where it doesn't answer, as just after a restart."""
        try:
            answer = self.client._answer(GetState, f"/{node}/get_state", GetState.Request(), 2.0)
        except GraphError:
            return ""
        return answer.current_state.label

    def logs(self):
        lines = [line for name in self.group.processes if (line := self.group.last_error(name))]
        return f"mode {self.mode()}, reasons {self.reasons()}, {lines}"

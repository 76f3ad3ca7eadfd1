"""Faults other than a killed node, while the arm moves: a stall, a clock that jumps, a full disk.

Each test judges every recorded command against the limits.
"""

import os
import resource
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from recorded_limits import check_inside_limits
from running_graph import RunningGraph

from salus_ros.supervision.journal.reading import Entries
from salus_ros.supervision.journal.verification import verify

HOLD, STOP = 4, 5
JOURNAL = "safety_supervisor: journal"
# A busy machine delays joint states, too, which is another test's matter.
PATIENT = {"joint_state_age_hold": 0.5, "joint_state_age_stop": 1.5}


def came_to_rest(graph):
    return graph.states[-1].at_rest and not graph.moving()


def stalled(graph, name):
    os.kill(graph.group.processes[name].pid, signal.SIGSTOP)


def going_on(graph, name):
    os.kill(graph.group.processes[name].pid, signal.SIGCONT)


def test_a_stalled_policy_is_a_hold_and_the_arm_goes_on_by_itself(tmp_path):
    """Stalled for less than the manager's patience; what it then sends is new."""
    with RunningGraph(
        tmp_path, safety_supervisor=PATIENT, lifecycle_manager={"heartbeat_timeout": 20.0}
    ) as graph:
        graph.begin_episode()
        stalled(graph, "vla_policy")
        try:
            graph.wait(lambda: graph.mode() == HOLD, "HOLD")
            graph.wait(lambda: set(graph.reasons()) & {"plan_ran_out", "plan_stale"}, "its cause")
            graph.wait(lambda: came_to_rest(graph), "rest")
        finally:
            going_on(graph, "vla_policy")
        graph.wait(lambda: graph.moving() and graph.mode() < HOLD, "the arm to go on")
        sent = len(graph.commands)
        graph.wait(lambda: len(graph.commands) > sent + 50, "more commands")
        check_inside_limits(graph.commands)


class SteppedClock:
    """Publishes /clock: the system's time and an offset that can be changed. A context manager."""

    def __init__(self, node):
        from rosgraph_msgs.msg import Clock

        from salus_ros.nodes import qos, topics
        from salus_ros.nodes.conversions import time_message

        self.offset = 0.0
        self._message = lambda: Clock(clock=time_message(time.time_ns() + int(self.offset * 1e9)))
        self._publisher = node.create_publisher(Clock, topics.CLOCK, qos.SENSOR)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._ended.wait(0.005):
            self._publisher.publish(self._message())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()


def reset(graph):
    from std_srvs.srv import Trigger

    from salus_ros.nodes import topics

    answer = graph.client._answer(Trigger, topics.RESET, Trigger.Request(), 5.0)
    return answer.success


def test_a_jump_of_the_supervisors_clock_stops_the_arm_until_it_is_put_right(tmp_path):
    """Forwards, everything looks old; backwards, from the future. Neither moves the arm, nor locks
    it out for good."""
    # /clock comes in steps and over the wire: stamps may seem to lie ahead of it.
    supervisor = {**PATIENT, "use_sim_time": True, "future_stamp": 0.3}
    with (
        RunningGraph(tmp_path, safety_supervisor=supervisor) as graph,
        SteppedClock(graph.client.node) as clock,
    ):
        graph.begin_episode()
        for jump in (2.0, -2.0):
            begun = len(graph.interventions)
            clock.offset = jump
            graph.wait(lambda: graph.mode() == STOP, "STOP")
            graph.wait(lambda: came_to_rest(graph), "rest")
            jumps = [i.value for i in graph.interventions[begun:] if i.reason == "clock_jump"]
            assert any(abs(found - jump) < 0.3 for found in jumps), jumps
            # The jump is over at once; what lasts is that every joint state is from another time.
            graph.wait(lambda: "joint_state_lost" in graph.reasons(), "the lasting cause")
            assert not reset(graph)
            clock.offset = 0.0
            graph.wait(lambda: reset(graph), "the reset")
            graph.wait(graph.moving, "the arm to go on")
        check_inside_limits(graph.commands)


@contextmanager
def small_disk(folder):
    """A file system of 1 MiB where root may mount one; yields how to fill it but for some bytes,
    how to make room again, and what the system then says. Elsewhere, the same by a limit on the
    size of the writers' files."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        yield limit_files, lift_limit, "File too large"
        return
    filler = folder / "filler"

    def fill(pids, left):
        free = os.statvfs(folder)
        filler.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - left)))

    try:
        yield fill, lambda pids: filler.unlink(), "No space left on device"
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


UNLIMITED = resource.RLIM_INFINITY


def limit_files(pids, left):
    """Files may not grow beyond so many bytes."""
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (left, UNLIMITED))


def lift_limit(pids):
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))


def writers(graph):
    """Process ids of the journal's two processes."""
    supervisor = str(graph.group.processes["safety_supervisor"].pid)
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes()
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if b"journal.writer" in command:
            found[path.name] = parent
    first = [pid for pid, parent in found.items() if parent == supervisor]
    return [int(pid) for pid, parent in found.items() if pid in first or parent in first]


class Stranger:
    """Sends stale chunks, each of which the supervisor drops and records; the arm goes on."""

    def __init__(self, graph):
        from salus_msgs.msg import ActionChunk

        from salus_ros.nodes import qos, topics

        self._graph = graph
        self._publisher = graph.client.node.create_publisher(
            ActionChunk, topics.ACTION_CHUNK, qos.PLAN
        )
        graph.wait(lambda: self._publisher.get_subscription_count() >= 2, "the subscriptions")

    def send_until(self, condition, what):
        from builtin_interfaces.msg import Time
        from test_bad_input import chunk_message

        def one_more():
            message = chunk_message(self._graph)
            message.header.stamp = Time(sec=message.header.stamp.sec - 10)
            self._publisher.publish(message)
            return condition()

        self._graph.wait(one_more, what)


def test_a_full_disk_and_killed_journal_writers_are_errors_and_nothing_is_lost_silently(tmp_path):
    """The arm goes on meanwhile: the journal's trouble is no cause to stop it, but to say so."""
    folder = tmp_path / "disk" / "journal"
    with small_disk(tmp_path / "disk") as (fill, make_room, says):
        parameters = {**PATIENT, "journal_folder": str(folder)}
        with RunningGraph(tmp_path, safety_supervisor=parameters) as graph:
            graph.begin_episode()
            stranger = Stranger(graph)
            before = writers(graph)
            assert len(before) == 2
            fill(before, 8192)
            stranger.send_until(lambda: JOURNAL in graph.lost, "the error")
            assert says in graph.diagnostics[JOURNAL].message
            make_room(before)
            graph.wait(lambda: JOURNAL not in graph.lost, "the journal to go on")
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            stranger.send_until(lambda: JOURNAL in graph.lost or again(graph, before), "the loss")
            graph.wait(lambda: again(graph, before) and JOURNAL not in graph.lost, "others")
            sent = len(graph.interventions)
            stranger.send_until(lambda: len(graph.interventions) > sent + 20, "more records")
            assert not {"stop_requested", "internal_error"} & set(graph.reasons())
            check_inside_limits(graph.commands)
            published = {act.sequence for act in graph.interventions}
        check_accounted(folder, published)


def again(graph, before):
    now = writers(graph)
    return len(now) == 2 and not set(now) & set(before)


def check_accounted(folder, published):
    """Every intervention is in the journal, or in a line's count of what was left out."""
    result = verify(folder)
    assert result.intact, result.problems
    entries = list(Entries(folder))
    written = {entry["intervention"] for entry in entries if "intervention" in entry}
    records = sum(entry["kind"] != "journal" for entry in entries)
    left_out = sum(entry["left_out"] for entry in entries)
    assert len(published) > 50
    assert len(published - written) <= left_out
    assert entries[-1]["reason"] == "journal_closed"
    assert entries[-1]["fed"] == records + left_out
    reasons = [entry["reason"] for entry in entries]
    assert "journal_trouble" in reasons
    assert any("opened again: the writer was killed" in entry["message"] for entry in entries)

"""`salus demo`, as its user runs it: one process, from the shell."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SHARED_MEMORY = Path("/dev/shm")
PATIENCE = 60.0


def start(*options, **popen):
    command = [sys.executable, "-m", "salus_ros.cli.main", *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **popen
    )


def finish(process):
    output, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, output


def run(*options):
    return finish(start(*options))


def nodes_of(domain):
    """Command lines of nodes that run on this ROS domain."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (folder / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "salus_ros.nodes" in command and f"ROS_DOMAIN_ID={domain}\0" in environment:
            found.append(command)
    return found


def shared_memory():
    return {path.name for path in SHARED_MEMORY.iterdir() if "fastrtps" in path.name}


@pytest.fixture
def nothing_left(own_domain):
    """Fails where a process or a shared-memory file of the test is left."""
    before = shared_memory()
    yield
    assert nodes_of(own_domain) == []
    assert shared_memory() - before == set()


def test_runs_episodes_and_reports(nothing_left, tmp_path):
    result = tmp_path / "demo.json"
    code, output = run(
        "demo", "--episodes", "2", "--seed", "1", "--headless", "--json", str(result),
        "--record", str(tmp_path / "bag"), "--policy", "scripted_expert",
    )  # fmt: skip
    assert code == 0, output
    report = json.loads(result.read_text())
    assert [e["success"] for e in report["episodes"]] == [True, True]
    assert report["success_rate"] == 1.0
    assert 95 < report["control"]["rate_hz"] < 105
    assert 0 <= report["control"]["missed_deadline_fraction"] < 1
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"] < 500
    assert {"versions", "commit"} <= set(report)
    assert "2 of 2 succeeded" in output
    check_bag(tmp_path / "bag")


def check_bag(folder):
    from rosbags.rosbag2 import Reader

    with Reader(folder) as reader:
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
    assert counts["/joint_commands"] > 500
    assert counts["/camera/front/image_raw"] > 20
    assert counts["/salus/action_chunk"] > 10
    assert counts["/salus/signals"] > 100
    assert counts["/sim/episode"] >= 4


def start_demo(domain):
    """A demo all of whose nodes are there."""
    process = start("demo", "--episodes", "5", "--policy", "scripted_expert")
    deadline = time.monotonic() + PATIENCE
    while len(nodes_of(domain)) < 6:
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline, nodes_of(domain)
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_leaves_nothing(nothing_left, own_domain, number):
    process = start_demo(own_domain)
    process.send_signal(number)
    code, output = finish(process)
    assert code == 130, output
    assert "Traceback" not in output


def test_killed_leaves_no_process(own_domain):
    """Even kill -9 of the demo takes its nodes along."""
    process = start_demo(own_domain)
    process.kill()
    finish(process)
    deadline = time.monotonic() + PATIENCE
    while nodes_of(own_domain):
        assert time.monotonic() < deadline, nodes_of(own_domain)
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--policy", "magic"], "unknown policy 'magic'; known: "),
        (["--instruction", "fly away"], "unknown instruction 'fly away'; known: "),
        (["--disturbance", "meteor"], "unknown disturbance 'meteor'; known: "),
        (["--config", "nowhere"], "no such configuration file"),
        (["--record", "."], "exists"),
    ],
)
def test_a_wrong_option_is_one_line(nothing_left, options, says):
    code, output = run("demo", *options)
    assert code == 2
    assert output.startswith("error: ") and output.count("\n") == 1
    assert says in output


def test_a_node_that_cannot_start_ends_the_demo(nothing_left, tmp_path):
    config = tmp_path / "wrong.yaml"
    config.write_text("sim_rig:\n  ros__parameters:\n    image_sise: 64\n")
    code, output = run("demo", "--config", str(config))
    assert code == 1
    assert "unknown parameter 'image_sise'; known: " in output
    assert "Traceback" not in output


def test_a_node_that_cannot_be_configured_ends_the_demo(nothing_left, tmp_path):
    config = tmp_path / "wrong.yaml"
    config.write_text("safety_supervisor:\n  ros__parameters:\n    limits: nowhere.yaml\n")
    code, output = run("demo", "--config", str(config))
    assert code == 1
    assert "safety_supervisor can't be configured" in output
    assert re.search(r"nowhere\.yaml", output)
    assert "Traceback" not in output


def test_a_second_graph_in_the_domain_is_refused(nothing_left, own_domain):
    first = start("up", "--sim", "--policy", "scripted_expert")
    try:
        deadline = time.monotonic() + PATIENCE
        for line in first.stdout:
            assert time.monotonic() < deadline
            if "vla_policy activated" in line:
                break
        code, output = run("demo", "--episodes", "1")
        assert code == 1
        assert f"ROS domain {own_domain} already has a" in output
    finally:
        first.send_signal(signal.SIGINT)
        finish(first)
    assert first.returncode == 0

"""The two packages as a ROS workspace, built over whatever ROS this environment has."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.skipif(
    not (BIN / "colcon").exists() and shutil.which("colcon") is None,
    reason="colcon is missing: run `make build`",
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """`colcon build --base-paths . msg`, installed in a folder of the test's."""
    folder = tmp_path_factory.mktemp("workspace")
    environment = os.environ | {
        "AMENT_PREFIX_PATH": os.environ.get("AMENT_PREFIX_PATH") or sys.prefix,
        "CMAKE_PREFIX_PATH": os.environ.get("CMAKE_PREFIX_PATH") or sys.prefix,
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    command = ["colcon", "--log-base", str(folder / "log"), "build", "--base-paths", ".", "msg"]
    command += ["--build-base", str(folder / "build"), "--install-base", str(folder / "install")]
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 packages finished" in result.stdout + result.stderr
    return folder / "install", environment


def test_nodes_start_from_the_install(workspace, own_domain):
    """The supervisor of the installed package starts, with its messages, and ends on SIGINT."""
    install, environment = workspace
    script = f". {install}/setup.sh && exec {install}/salus_ros/lib/salus_ros/safety_supervisor"
    environment = environment | {"ROS_DOMAIN_ID": str(own_domain), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        ["bash", "-c", script], env=environment, cwd=install,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        loaded = subprocess.run(
            ["bash", "-c", f". {install}/setup.sh && {sys.executable} -c "
             "'import salus_ros, salus_msgs; print(salus_ros.__file__, salus_msgs.__file__)'"],
            env=environment, cwd=install, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert loaded.stdout.count(str(install)) == 2, loaded.stdout
        wait_for_node("safety_supervisor")
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert not re.search("Traceback", output)


def wait_for_node(name):
    import time

    import rclpy
    from rclpy.node import Node

    rclpy.init()
    node = Node("watcher")
    try:
        deadline = time.monotonic() + 30
        while name not in node.get_node_names():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        node.destroy_node()
        rclpy.shutdown()


def test_config_and_launch_files_are_installed(workspace):
    install, _ = workspace
    share = install / "salus_ros" / "share" / "salus_ros"
    for folder, pattern in (("config", "*.*ml"), ("launch", "*.launch.py")):
        wanted = {path.name for path in (ROOT / folder).glob(pattern)}
        assert {path.name for path in (share / folder).glob(pattern)} == wanted

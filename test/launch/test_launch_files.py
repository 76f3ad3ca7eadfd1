"""The launch files: what they start, and that the real `ros2 launch` runs them.

`launch_ros` is not on PyPI: these tests run where a ROS install (or its sources) is at hand.
"""

import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
FILES = sorted(LAUNCH.glob("*.launch.py"))
NODES = {
    "safety_supervisor",
    "failure_predictor",
    "signal_publisher",
    "vla_policy",
    "lifecycle_manager",
}
PATIENCE = 60.0

needs_launch = pytest.mark.skipif(
    find_spec("launch_ros") is None,
    reason="launch_ros is missing: it comes with a ROS install, not from PyPI",
)
needs_install = pytest.mark.skipif(
    shutil.which("ros2") is None, reason="no ros2 command: it comes with a ROS install"
)
needs_bag = pytest.mark.skipif(
    find_spec("ros2bag") is None, reason="no `ros2 bag`: it comes with a ROS install"
)


def test_the_files_are_there():
    assert {path.name for path in FILES} >= {
        "bringup.launch.py",
        "franka.launch.py",
        "replay.launch.py",
        "sim.launch.py",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_launch_file_is_valid_python_with_described_arguments(path):
    """Every argument has a description and a default, so that --show-args explains itself."""
    text = path.read_text()
    compile(text, str(path), "exec")
    declarations = re.findall(r"DeclareLaunchArgument\((.*?)\n    \)", text, re.DOTALL)
    assert len(declarations) >= 4
    for declaration in declarations:
        assert "description=" in declaration, declaration
        assert "default_value=" in declaration, declaration


def described(path):
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    from launch import LaunchContext

    description = get_launch_description_from_python_launch_file(str(path))
    return description, LaunchContext()


@needs_launch
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_launch_file_loads(path):
    description, _ = described(path)
    assert description.get_launch_arguments()


def launched(command, until, environment=None):
    """Output and exit code of a launch that is interrupted once a line says `until`."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    lines, deadline = [], time.monotonic() + PATIENCE
    try:
        for line in process.stdout:
            lines.append(line)
            if until in line:
                break
            assert time.monotonic() < deadline, "".join(lines)
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE)
    return "".join(lines) + rest, process.returncode


@needs_install
@needs_launch
def test_the_whole_graph_comes_up_and_goes_down(own_domain):
    """`ros2 launch salus_ros sim.launch.py`, until the arm follows its plan; then Ctrl-C."""
    command = ["ros2", "launch", "salus_ros", "sim.launch.py"]
    output, code = launched(command, "NOMINAL: following the plan")
    for node in NODES - {"lifecycle_manager"}:
        assert f"{node} activated" in output
    assert "process has died" not in output
    assert code == 0, output


def made_by(name, **arguments):
    """What a launch file starts, with the defaults of its other arguments."""
    description, context = described(LAUNCH / name)
    declared = description.get_launch_arguments()
    context.launch_configurations.update({a.name: a.default_value[0].text for a in declared})
    context.launch_configurations.update(arguments)
    (function,) = [e for e in description.entities if type(e).__name__ == "OpaqueFunction"]
    return function.execute(context)


def parameters(actions):
    """Of nodes, by executable: what is given over the parameter file's."""
    from launch_ros.actions import Node

    made = [action for action in actions if isinstance(action, Node)]
    return {node.node_executable: node._Node__parameters[-1] for node in made}


def franka_nodes(**arguments):
    return parameters(made_by("franka.launch.py", **arguments))


def plain(parameters):
    """Names and values, from launch's own form of parameters."""

    def value(given):
        is_text = isinstance(given, tuple)
        return yaml.safe_load("".join(part.text for part in given)) if is_text else given

    return {"".join(part.text for part in name): value(given) for name, given in parameters.items()}


@needs_launch
def test_a_rig_of_two_machines_has_each_node_once():
    robot, gpu = franka_nodes(machine="robot"), franka_nodes(machine="gpu")
    assert set(robot) == {"franka_bridge", "safety_supervisor", "lifecycle_manager"}
    assert set(robot).isdisjoint(gpu)
    assert {*robot, *gpu} == {*NODES, "franka_bridge"} == set(franka_nodes(machine="all"))


@needs_launch
def test_outputs_go_to_the_controllers_of_the_robots_namespace():
    given = {"robot_namespace": "/left/", "output": "float64_multi_array", "hand": "false"}
    supervisor = plain(franka_nodes(**given)["safety_supervisor"])
    assert supervisor["command_topic"] == "/left/forward_position_controller/commands"
    assert supervisor["robot_description_topic"] == "/left/robot_description"
    assert supervisor["rate"] == supervisor["controller_rate"] == 1000.0
    assert supervisor["gripper_name"] == ""
    assert supervisor["require_enable"] is True
    supervisor = plain(franka_nodes(enable_switch="false")["safety_supervisor"])
    assert supervisor["command_topic"] == "/fr3/joint_trajectory_controller/joint_trajectory"
    assert supervisor["require_enable"] is False


@needs_install
@needs_launch
def test_the_robots_machine_takes_a_stand_in_of_the_arm_over(own_domain, tmp_path):
    """`machine:=robot` before a driver's interfaces: bridge, supervisor and manager."""
    pytest.importorskip("salus_msgs", reason="needs ROS: run `make build`")
    import stand_in

    content = yaml.safe_load((LAUNCH.parent / "config" / "fr3.yaml").read_text())
    # The stand-in has no URDF, and the other machine isn't there.
    content["safety_supervisor"]["ros__parameters"] |= {"limits_from_urdf": False}
    content["lifecycle_manager"] = {"ros__parameters": {"managed_nodes": ["safety_supervisor"]}}
    config = tmp_path / "rig.yaml"
    config.write_text(yaml.safe_dump(content))
    found = stand_in.environment()
    with (tmp_path / "arm.log").open("wb") as log:
        arm = stand_in.python(str(stand_in.HERE / "stand_in_franka.py"), log=log, found=found)
    command = ["ros2", "launch", "salus_ros", "franka.launch.py", "machine:=robot"]
    try:
        output, code = launched(
            [*command, f"config:={config}"], "safety_supervisor activated", found
        )
    finally:
        arm.kill()
        arm.wait()
    assert "robot: follows commands" in output
    assert "process has died" not in output
    assert code == 0, output


@needs_launch
def test_no_robot_is_commanded_by_a_replay(tmp_path):
    """Whatever the rig's parameter file says."""
    from launch_ros.actions import SetRemap

    actions = made_by("replay.launch.py", bag=str(tmp_path), config="fr3")
    supervisor = plain(parameters(actions)["safety_supervisor"])
    assert supervisor["output"] == "joint_state"
    assert supervisor["require_robot"] is supervisor["require_enable"] is False
    remaps = [(a.src[0].text, a.dst[0].text) for a in actions if isinstance(a, SetRemap)]
    assert ("safety_supervisor:/joint_commands", "/replay/joint_commands") in remaps


@needs_install
@needs_launch
@needs_bag
def test_a_bag_is_replayed_to_its_end(own_domain, tmp_path):
    """By `ros2 bag play`; the arm is taken over while it rests, and with the bag all ends."""
    make = ["record", "rollouts", "--episodes", "1", "--policy", "scripted_expert"]
    subprocess.run(
        [sys.executable, "-m", "salus_ros.cli.main", *make, "--out", str(tmp_path / "bags")],
        check=True,
        timeout=PATIENCE,
    )
    bag = f"bag:={tmp_path / 'bags' / 'episode_00000'}"
    command = ["ros2", "launch", "salus_ros", "replay.launch.py", bag]
    # It ends by itself.
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    output = result.stdout + result.stderr
    for node in ("safety_supervisor", "failure_predictor", "signal_publisher"):
        assert f"{node} activated" in output, output
    assert "NOMINAL: following the plan" in output, output
    assert "process has died" not in output, output
    assert result.returncode == 0


@needs_install
@needs_launch
@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("config:=nowhere", "config:=nowhere is neither a file nor one of: fr3, "),
        ("policy:=magic", "policy: 'magic' is not one of "),
        ("window:=maybe", "window"),
    ],
)
def test_a_wrong_argument_ends_the_launch(own_domain, argument, says):
    command = ["ros2", "launch", "salus_ros", "sim.launch.py", argument]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    # It ended by itself; `ros2 launch` exits with 0 after a shutdown that a launch file asked for.
    assert says in result.stdout + result.stderr

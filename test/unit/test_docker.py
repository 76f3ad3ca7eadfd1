"""Static checks of docker/: no Docker here, so what can be known without it."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from salus_ros.interface_table import NODES, RIG

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
FILES = sorted(DOCKER.glob("*Dockerfile"))
COMPOSE = DOCKER / "compose.yaml"


def instructions(path):
    """(instruction, arguments), lines joined and comments left out."""
    text = re.sub(r"(?m)^\s*#.*\n", "", path.read_text())
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def test_the_images_are_there():
    assert [path.name for path in FILES] == ["Dockerfile", "jetson.Dockerfile"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_image_is_pinned_small_and_copies_what_is_there(path):
    found = instructions(path)
    arguments = dict(a.split("=", 1) for word, a in found if word == "ARG" and "=" in a)
    (base,) = [a for word, a in found if word == "FROM"]
    base = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], base)
    assert re.fullmatch(r"[\w./-]+:[\w.-]+", base), base
    assert not base.endswith(":latest")
    for word, rest in found:
        assert word not in ("ADD", "MAINTAINER")
        if word == "COPY":
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
        if word == "RUN" and "apt-get install" in rest:
            assert rest.count("apt-get install -y --no-install-recommends") == rest.count(
                "apt-get install"
            )
            assert "rm -rf /var/lib/apt/lists/*" in rest
        if word == "RUN" and "pip install" in rest:
            assert rest.count("--no-cache-dir") == rest.count("pip install")
        if word == "RUN":
            assert "sudo" not in rest
            assert not re.search(r"curl[^&]*\| *(ba)?sh", rest), "runs what it downloads"
    assert ("ENTRYPOINT", '["/entrypoint.sh"]') in found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_nodes_of_an_image_are_compiled(path):
    """By the Python that colcon builds with, which needs mypy, a compiler and Python's headers."""
    runs = " ".join(rest for word, rest in instructions(path) if word == "RUN")
    assert {"build-essential", "python3-dev"} <= set(runs.split())
    before, build, _ = runs.partition("SALUS_COMPILE=1 colcon build")
    assert build and re.search(r"pip3? install [^&]*-c \S*constraints.txt mypy", before)


def test_a_pipe_that_fails_fails_the_build():
    for path in FILES:
        shell = ""
        for word, rest in instructions(path):
            if word == "SHELL":
                shell = rest
            assert word != "RUN" or " | " not in rest or "pipefail" in shell, path


def test_the_entrypoint_is_bash_and_can_be_run():
    script = DOCKER / "entrypoint.sh"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(COMPOSE.read_text())


def example():
    lines = (DOCKER / "rig.env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_each_variable_is_explained_in_the_example_and_none_is_left_over():
    used = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    assert used == set(example())


def test_files_and_folders_that_the_compose_file_names_are_there(compose):
    for service in compose["services"].values():
        build = service["build"]
        context = DOCKER / build["context"]
        assert (context / build["dockerfile"]).is_file()
        arguments = {a for word, a in instructions(context / build["dockerfile"]) if word == "ARG"}
        assert set(build.get("args", {})) <= {a.partition("=")[0] for a in arguments}
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            if source.startswith(".."):
                assert (DOCKER / source).is_dir()


def test_every_service_is_watched_and_ends_with_a_stop(compose):
    for name, service in compose["services"].items():
        assert service["init"] is True, name
        assert service["stop_signal"] == "SIGINT"
        assert service["restart"] == "no"
        assert service["network_mode"] == "host"
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(
            service["healthcheck"]
        )
        environment = service["environment"]
        assert {"ROS_DOMAIN_ID", "ROS_STATIC_PEERS", "FASTDDS_BUILTIN_TRANSPORTS"} <= set(
            environment
        )


def test_the_supervisors_machine_may_use_real_time_and_the_policys_shared_memory(compose):
    robot = compose["services"]["robot"]
    assert set(robot["cap_add"]) == {"SYS_NICE", "IPC_LOCK"}
    assert robot["ulimits"] == {"rtprio": 98, "memlock": -1}
    for name in ("gpu", "jetson"):
        assert compose["services"][name]["ipc"] == "host"
    devices = compose["services"]["gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices[0]["capabilities"] == ["gpu"]
    assert compose["services"]["jetson"]["runtime"] == "nvidia"


def test_two_machines_watch_all_nodes_between_them(compose):
    def watched(name):
        return compose["services"][name]["healthcheck"]["test"][-1].split(",")

    assert sorted(watched("robot") + watched("gpu")) == sorted(set(NODES) - {RIG})
    assert watched("gpu") == watched("jetson")


def test_launch_arguments_in_the_compose_file_are_those_of_the_launch_file(compose):
    text = (ROOT / "launch" / "franka.launch.py").read_text()
    declared = set(re.findall(r'DeclareLaunchArgument\(\s*"(\w+)"', text))
    for service in compose["services"].values():
        assert service["command"].startswith("ros2 launch salus_ros franka.launch.py ")
        assert set(re.findall(r"(\w+):=", service["command"])) <= declared


def test_cameras_may_be_given_with_spaces(compose):
    cameras = "front=/zed/rgb/image, wrist=/rs/image"
    for name in ("gpu", "jetson"):
        command = compose["services"][name]["command"].replace("${CAMERAS:-}", cameras)
        assert f"cameras:={cameras}" in shlex.split(command)

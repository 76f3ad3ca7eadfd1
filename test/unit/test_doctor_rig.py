"""`salus doctor --rig`: what it makes of a machine and of what is heard."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS: run `make build`")

from salus_msgs.msg import RobotMode

from salus_ros.cli import rig_machine
from salus_ros.cli.graph import parameter_file
from salus_ros.nodes.rig_findings import NODES, RigSettings, rig_findings
from salus_ros.nodes.rig_watch import RigReport, Stream

JOINTS = [f"fr3_joint{k}" for k in range(1, 8)]


def stream(rate=200.0, age=0.001, seconds=2.0, **changes):
    arrivals = [k / rate for k in range(round(rate * seconds))]
    return Stream(arrivals, [age] * len(arrivals), **{"publishers": 1, **changes})


@pytest.fixture
def settings():
    return RigSettings(parameter_file("fr3"), "front,wrist=/rs/image")


@pytest.fixture
def report():
    return RigReport(
        joints=stream(names=[*JOINTS, "fr3_gripper"]),
        cameras={"front": stream(30.0, 0.05), "wrist": stream(30.0, 0.05)},
        heartbeats={name: stream(5.0) for name in NODES},
        robot=RobotMode(ready=True),
        commanders=["safety_supervisor"],
        controllers=1,
    )


def problems(report, settings):
    found = rig_findings(report, settings)
    assert all(finding.remedy for finding in found if finding.level != "ok")
    return {finding.check: finding for finding in found if finding.level != "ok"}


def test_settings_are_the_parameter_files(settings):
    assert settings.cameras == {"front": "/camera/front/image_raw", "wrist": "/rs/image"}
    assert settings.command_topic == "/fr3/joint_trajectory_controller/joint_trajectory"
    assert settings.require_robot
    with pytest.raises(ValueError, match="is no camera=topic"):
        RigSettings(parameter_file("fr3"), "front=")


def test_a_rig_that_works_has_no_findings(report, settings):
    assert problems(report, settings) == {}


BROKEN = {
    "joint names": [
        (lambda r: r.joints.names.remove("fr3_joint3"), "lacks fr3_joint3"),
        (lambda r: setattr(r.joints, "publishers", 2), "2 publishers"),
        (lambda r: setattr(r, "joints", Stream()), "nothing on /joint_states"),
    ],
    "joint states": [
        (lambda r: setattr(r, "joints", stream(30.0, names=r.joints.names)), "30 Hz"),
        (lambda r: r.joints.arrivals.append(r.joints.arrivals[-1] + 0.2), "gap 200.0 ms"),
        (lambda r: setattr(r.joints, "ages", [0.2]), "age 200.0 ms"),
    ],
    "nodes": [(lambda r: r.heartbeats.pop("vla_policy"), "not heard: vla_policy")],
    "clocks between machines": [
        (lambda r: setattr(r.heartbeats["vla_policy"], "ages", [-0.3]), "vla_policy -300.0 ms"),
        (lambda r: setattr(r.heartbeats["vla_policy"], "ages", [0.3]), "vla_policy +300.0 ms"),
    ],
    "camera front": [
        (lambda r: r.cameras.update(front=Stream()), "no publisher"),
        (lambda r: r.cameras.update(front=Stream(publishers=1)), "no image came through"),
        (lambda r: setattr(r.cameras["front"], "ages", [0.5]), "age 500 ms"),
    ],
    "robot": [
        (lambda r: setattr(r, "robot", None), "nothing on /salus/robot_mode"),
        (lambda r: setattr(r, "robot", RobotMode(text="reflex: joint_reflex")), "joint_reflex"),
    ],
    "commands": [
        (lambda r: r.commanders.append("teleop"), "published by safety_supervisor, teleop"),
    ],
    "controller": [(lambda r: setattr(r, "controllers", 0), "nobody listens to")],
}


@pytest.mark.parametrize(
    ("check", "break_it", "says"),
    [(check, *case) for check, cases in BROKEN.items() for case in cases],
)
def test_what_is_wrong_is_named(report, settings, check, break_it, says):
    break_it(report)
    found = problems(report, settings)
    assert says in found[check].detail
    # A lost stream is late, too: no other check is.
    assert set(found) <= {check, "joint states"}


def test_a_machine_is_judged_by_its_kernel_processor_and_buffers(tmp_path):
    governor = tmp_path / "sys/devices/system/cpu/cpu1/cpufreq"
    governor.mkdir(parents=True)
    (governor / "scaling_governor").write_text("powersave\n")
    net = tmp_path / "proc/sys/net/core"
    net.mkdir(parents=True)
    (net / "rmem_max").write_text("212992\n")
    found = rig_machine.governors(tmp_path)
    assert (found.level, found.detail) == ("warning", "not performance: cpu1")
    assert rig_machine.receive_buffer(tmp_path).detail == "rmem_max 208 KiB"
    (governor / "scaling_governor").write_text("performance\n")
    (net / "rmem_max").write_text(str(64 << 20))
    (tmp_path / "sys/kernel").mkdir()
    (tmp_path / "sys/kernel/realtime").write_text("1\n")
    for check in (rig_machine.governors, rig_machine.receive_buffer, rig_machine.kernel):
        assert check(tmp_path).level == "ok"


@pytest.mark.parametrize(
    ("state", "level"), [((True, 0.0002), "ok"), ((True, 0.1), "warning"), ((False, 0), "warning")]
)
def test_a_clock_that_follows_none_is_told(monkeypatch, tmp_path, state, level):
    monkeypatch.setattr(rig_machine, "_ntp_state", lambda: state)
    assert rig_machine.clock(tmp_path).level == level


def test_every_check_of_this_machine_gives_a_finding():
    found = rig_machine.machine_findings()
    assert len({finding.check for finding in found}) == 6
    assert all(finding.remedy for finding in found if finding.level != "ok")

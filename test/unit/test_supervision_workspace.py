"""Check 6: kinematics against the simulated arm, workspace files, and the gate at its borders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import yaml
from test_supervision_gate import MIDDLE, Rig, panda, reasons

from salus_ros.interfaces import ActionChunk
from salus_ros.sim.rig import Rig as SimulatedRig
from salus_ros.supervision.arm_columns import postures, tool_speeds
from salus_ros.supervision.arm_kinematics import (
    lever_bounds,
    posture,
    tool_jacobian,
    tool_speed,
)
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.errors import GateRefusal, LimitsError
from salus_ros.supervision.limits import RobotLimits
from salus_ros.supervision.modes import Mode
from salus_ros.supervision.verification import verify_space
from salus_ros.supervision.workspace import Box, Workspace, load_workspace

CONFIG = Path(__file__).parents[2] / "config"
PANDA = CONFIG / "panda_workspace.yaml"
TOOL = load_workspace(PANDA).tool


def drawn(count: int) -> Any:
    limits = panda().arm
    return np.random.default_rng(4).uniform(limits.lower, limits.upper, (count, 7))


# ---- kinematics -------------------------------------------------------------------------------


def test_points_are_where_the_simulated_arm_has_them() -> None:
    rig = SimulatedRig()
    data, model = rig.mujoco_data, rig.mujoco_data.model
    for q in drawn(20):
        data.qpos[:7] = q
        mujoco.mj_forward(model, data)
        place = posture(q.tolist(), TOOL)
        np.testing.assert_allclose(place.tool, rig.tool_point, atol=1e-6)
        # Link 4's frame lies at the elbow.
        np.testing.assert_allclose(place.elbow, data.body("link4").xpos, atol=1e-6)
        np.testing.assert_allclose(
            np.array(place.tool) - place.flange,
            data.body("link7").xmat.reshape(3, 3)[:, 2] * 0.1488,
            atol=1e-6,
        )
    rig.close()


def test_whole_plans_have_the_same_points_as_single_postures() -> None:
    rows, speeds = drawn(10), drawn(20)[10:]
    together = postures(rows, TOOL)
    fast = tool_speeds(together, speeds)
    for k, (row, velocities) in enumerate(zip(rows.tolist(), speeds.tolist(), strict=True)):
        alone = posture(row, TOOL)
        np.testing.assert_allclose(together.points[:, k], alone.points, atol=1e-12)
        assert fast[k] == pytest.approx(tool_speed(tool_jacobian(alone), velocities), rel=1e-12)


def test_the_tool_moves_as_fast_as_its_jacobian_says() -> None:
    step = 1e-6
    for q, v in zip(drawn(20), drawn(40)[20:], strict=True):
        ends = [posture((q + way * step * v).tolist(), TOOL).tool for way in (1, -1)]
        ways = np.subtract(*ends)
        speed = tool_speed(tool_jacobian(posture(q.tolist(), TOOL)), v.tolist())
        assert speed == pytest.approx(np.linalg.norm(ways) / (2 * step), rel=1e-5)


def test_no_point_is_farther_from_an_axis_than_its_lever_bound() -> None:
    bounds = lever_bounds(TOOL)
    for q in drawn(300):
        place = posture(q.tolist(), TOOL)
        for axis, origin, bound in zip(place.axes, place.origins, bounds, strict=False):
            for point in place.points[1:]:
                arm = np.cross(axis, np.subtract(point, origin))
                assert np.linalg.norm(arm) <= bound


# ---- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("robot", ["panda", "fr3"])
def test_shipped_workspaces_hold_the_usual_postures(robot: str) -> None:
    space = load_workspace(CONFIG / f"{robot}_workspace.yaml")
    home = [0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785]
    assert space.outside(home) == ""
    low = [0.0, 1.2, 0.0, -1.5, 0.0, 1.8, 0.785]
    assert "is outside the workspace by" in space.outside(low)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c.pop("workspace"), "workspace is None"),
        (lambda c: c["workspace"].pop("box"), "box is None"),
        (lambda c: c["workspace"].pop("tool"), "tool is None"),
        (lambda c: c["workspace"]["box"].update(lower=[0, 0]), "give [x, y, z] in metres"),
        (lambda c: c["workspace"]["box"].update(lower=[0, 0, float("nan")]), "in metres"),
        (lambda c: c["workspace"]["box"].update(lower=[-500, -500, 0]), "within 5"),
        (lambda c: c["workspace"]["box"].update(lower=[1, -1, 0]), "is not below upper"),
        (lambda c: c["workspace"]["tool"].update(flange_to_tool=148.8), "give metres from 0 to 1"),
        (lambda c: c["workspace"].update(forbiden=[]), "unknown key 'forbiden'"),
        (lambda c: c["workspace"].update(forbidden=[3]), "forbidden[0] is 3"),
    ],
)
def test_a_senseless_workspace_is_refused_in_one_line(
    tmp_path: Path, change: Callable[[Any], Any], expected: str
) -> None:
    content = yaml.safe_load(PANDA.read_text())
    change(content)
    path = tmp_path / "workspace.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(LimitsError) as caught:
        load_workspace(path)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_workspace_for_another_arm_is_refused() -> None:
    with pytest.raises(LimitsError, match="the arm has 6 joints"):
        load_workspace(PANDA, 6)


# ---- the gate ---------------------------------------------------------------------------------

NARROW = replace(TOOL, finger=0.0)
OPEN_SPACE = Box("box", (-2.0, -2.0, -2.0), (2.0, 2.0, 2.0))


def spaced(box: Box = OPEN_SPACE, forbidden: tuple[Box, ...] = ()) -> RobotLimits:
    return replace(panda(), workspace=Workspace(TOOL, box, forbidden))


def tool_at(q: Any) -> Any:
    return np.array(posture(list(q), TOOL).tool)


def sweep(speed: float) -> Callable[[float], Any]:
    """Joint 1 to and fro; the tool goes at about `speed` m/s in the middle."""
    radius = float(np.linalg.norm(tool_at(MIDDLE)[:2]))
    swing = np.eye(7)[0]
    return lambda time: MIDDLE + swing * 0.4 * np.sin(speed / radius / 0.4 * time)


def check(rig: Rig) -> None:
    rig.check()
    space = rig.limits.workspace
    assert space is not None
    found = verify_space([r.command for r in rig.results], space, rig.config.tool_speed)
    assert not found, str(found[0])


def test_a_plan_out_of_the_workspace_is_dropped_and_the_arm_stops() -> None:
    end = tool_at(MIDDLE + 0.25 * np.eye(7)[0])[1]
    rig = Rig(limits=spaced(Box("box", (-2, -2, -2), (2, float(end), 2))), plan=sweep(0.2))
    rig.run(4.0)
    assert "chunk_workspace" in reasons(rig.gate.drain_interventions())
    assert rig.results[-1].mode >= Mode.HOLD
    check(rig)


def over(time: float) -> Any:
    """Joint 1 goes on and on, 0.12 rad in 0.4 s, after the gate had time to begin."""
    return MIDDLE + np.eye(7)[0] * min(0.6, 0.3 * max(time - 2.0, 0.0))


def sparse(rig: Rig) -> ActionChunk:
    """Rows of `over` at multiples of 0.4 s."""
    chunk = rig.chunk(rows=4)
    first = (chunk.start_time - rig.began) // 400_000_000
    rows = [np.append(over(0.4 * (first + k)), rig.width) for k in range(4)]
    start = rig.began + int(first) * 400_000_000
    return replace(chunk, start_time=start, time_step=400_000_000, actions=np.array(rows))


def test_the_arm_stops_before_a_wall_that_the_rows_of_a_plan_step_over() -> None:
    """No row is inside the thin wall, only what lies between two: that is for each tick to see."""
    wall = float(tool_at(MIDDLE + 0.18 * np.eye(7)[0])[1])
    thin = Box("wall", (0.3, wall - 0.005, -2.0), (2.0, wall + 0.005, 2.0))
    rig = Rig(plan=over, limits=replace(panda(), workspace=Workspace(NARROW, OPEN_SPACE, (thin,))))
    seen: set[str] = set()
    for k in range(900):
        if k % 10 == 0:
            rig.gate.on_chunk(sparse(rig), rig.now)
        seen.update(rig.tick().reasons)
    assert "no_safe_step" in seen
    assert "chunk_workspace" not in reasons(rig.gate.drain_interventions())
    assert 0.12 < rig.position[0] < 0.18
    check(rig)


def test_activation_and_reset_are_refused_outside_the_workspace() -> None:
    height = float(tool_at(MIDDLE)[2])
    below = Box("box", (-2.0, -2.0, -2.0), (2.0, 2.0, height - 0.05))
    with pytest.raises(GateRefusal, match=r"elbow at .* m is outside the workspace .* by hand"):
        Rig(limits=spaced(below))
    rig = Rig(limits=spaced())
    rig.gate.request_stop(rig.now)
    rig.come_to_rest()
    rig.gate.limits = rig.limits
    rig.gate._parts.measurement._workspace = Workspace(TOOL, below)
    done, why = rig.gate.request_reset(rig.now)
    assert not done
    assert "outside the workspace" in why


def test_a_plan_with_too_fast_a_tool_is_followed_slower() -> None:
    rig = Rig(limits=spaced(), plan=sweep(0.35))
    rig.run(6.0)
    moving = [r for r in rig.results if r.mode in (Mode.NOMINAL, Mode.LIMITED)]
    assert len(moving) > 300
    assert any("tool_speed" in r.reasons for r in rig.results)
    assert "clock_lag" not in {name for r in rig.results for name in r.reasons}
    check(rig)


def test_a_plan_whose_tool_is_twice_too_fast_is_a_hard_fault() -> None:
    rig = Rig(limits=spaced(), plan=sweep(0.6))
    rig.run(1.0)
    assert "chunk_tool_speed" in reasons(rig.gate.drain_interventions())


def test_slow_plans_are_followed_as_without_a_workspace() -> None:
    rigs = [Rig(limits=limits, plan=sweep(0.2)) for limits in (panda(), spaced())]
    for rig in rigs:
        rig.run(4.0)
    free, held = ([r.command.positions for r in rig.results] for rig in rigs)
    np.testing.assert_allclose(free[-100:], held[-100:], atol=1e-9)


def test_a_lower_limit_is_kept_at_1000_hz_too() -> None:
    config = GateConfig(rate=1000.0, tool_speed=0.1)
    rig = Rig(config=config, limits=spaced(), plan=sweep(0.18))
    rig.run(3.0)
    assert any(r.mode is Mode.LIMITED for r in rig.results)
    check(rig)

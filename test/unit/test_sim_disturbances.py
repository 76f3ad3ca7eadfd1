"""What disturbances do, and that they leave nothing behind."""

from __future__ import annotations

import numpy as np
import pytest

from salus_ros.interfaces import JointCommand
from salus_ros.sim.disturbances import KINDS, Disturbance, draw_disturbance, kind_of
from salus_ros.sim.kinematics import tool_down
from salus_ros.sim.rig import Rig
from salus_ros.sim.tasks import AREA_LOWER, AREA_UPPER
from salus_ros.sim.world import HOME

TICK = 10_000_000
SECOND = 1_000_000_000
PICK = "pick up the red block"


@pytest.fixture(scope="module")
def rig():
    return Rig()


def red(rig: Rig) -> np.ndarray:
    return next(b.position for b in rig.blocks() if b.color == "red")


def test_all_that_the_specification_lists_are_known():
    assert set(KINDS) == {
        "camera_covered",
        "camera_blurred",
        "camera_shifted",
        "block_pushed",
        "block_slippery",
        "block_moved",
        "actuator_weakened",
        "joint_friction",
        "latency",
        "wrong_instruction",
        "distractor",
    }


@pytest.mark.parametrize("name", KINDS)
def test_draws_lie_in_range_and_come_from_the_seed(name):
    kind = kind_of(name)
    for seed in range(50):
        drawn = draw_disturbance(name, np.random.default_rng(seed))
        assert drawn == draw_disturbance(name, np.random.default_rng(seed))
        assert kind.magnitude[0] <= drawn.magnitude <= kind.magnitude[1]
        assert kind.onset[0] <= drawn.onset * 1e-9 <= kind.onset[1]


@pytest.mark.parametrize("name", KINDS)
def test_an_episode_says_what_disturbs_it_and_the_next_one_is_free_of_it(rig, name):
    def state() -> np.ndarray:
        rig.advance(SECOND // 5)
        joints, blocks = rig.joint_state().positions, [b.position for b in rig.blocks()]
        return np.concatenate([joints, *blocks])

    rig.reset(PICK, 21)
    clean = state()
    assert rig.reset(PICK, 21, name).disturbance == name
    assert rig.disturbance is not None and rig.disturbance.name == name
    rig.advance(4 * SECOND)
    assert rig.reset(PICK, 21).disturbance == ""
    assert (state() == clean).all()


@pytest.mark.parametrize(
    "bad", [("quake", 0, 1.0), ("latency", -1, 1.0), ("latency", 0, float("nan"))]
)
def test_bad_ones_are_refused_in_one_line(bad):
    with pytest.raises(ValueError, match=bad[0]) as caught:
        Disturbance(*bad)
    assert "\n" not in str(caught.value)


def test_a_push_moves_the_block_by_about_its_magnitude_from_its_onset_on(rig):
    rig.reset(PICK, 3, Disturbance("block_pushed", SECOND, 0.05, np.pi / 2))
    start = red(rig)
    rig.advance(SECOND)
    assert red(rig) == pytest.approx(start, abs=1e-3)
    rig.advance(SECOND)
    assert (red(rig) - start)[1] == pytest.approx(0.05, abs=0.015)
    assert (red(rig) - start)[0] == pytest.approx(0.0, abs=0.01)
    rest = red(rig)
    rig.advance(SECOND)
    assert red(rig) == pytest.approx(rest, abs=1e-3)


def test_moved_blocks_lie_outside_of_the_usual_area(rig):
    for seed in range(10):
        rig.reset(PICK, seed, "block_moved")
        places = np.array([b.position[:2] for b in rig.blocks()])
        assert ((places < AREA_LOWER) | (places > AREA_UPPER)).any()
        rig.reset(PICK, seed)
        usual = np.array([b.position[:2] for b in rig.blocks()])
        assert np.linalg.norm(places - usual, axis=1).min() >= 0.08


def test_latency_delivers_a_whole_observation_late_and_the_joint_states_at_once(rig):
    rig.reset(PICK, 3, Disturbance("latency", SECOND, 0.3))
    for i in range(1, 141):
        joints = HOME + 0.1 * (i / 100) ** 2
        command = JointCommand(rig.time + TICK, joints, HOME * 0, HOME * 0, None)
        assert rig.command(command)
        rig.advance(TICK)
        if i == 90:
            assert rig.observe(()).stamp == rig.time
    late = rig.observe(())
    assert late.stamp == late.joints.stamp == rig.time - 300_000_000
    now = rig.joint_state()
    assert now.stamp == rig.time
    assert (now.positions - late.joints.positions).min() > 0.03


def test_the_policy_is_told_of_another_block_on_the_table_and_judged_by_the_first(rig):
    told = set()
    for seed in range(10):
        rig.reset(PICK, seed, "wrong_instruction")
        assert rig.episode.instruction == PICK
        assert rig.policy_instruction == rig.observe(()).instruction != PICK
        color = rig.policy_instruction.split()[3]
        assert color in {b.color for b in rig.blocks()} - {"red"}
        told.add(color)
    assert len(told) > 1


def tracking_error(rig: Rig, disturbance: Disturbance | None) -> float:
    """Largest gap [rad] between a slow sweep's commands and the joints."""
    rig.reset("reach above the red block", 3, disturbance)
    worst, joints = 0.0, HOME
    for i in range(150):
        u = i / 150
        before, joints = joints, tool_down(0.45, 0.1 * u, 0.3 + 0.05 * u, 0.4 * u)
        rate = (joints - before) / 0.01
        rig.command(JointCommand(rig.time + TICK, joints, rate, np.zeros(7), None))
        rig.advance(TICK)
        gap = np.abs(joints - rate * 0.01 - rig.joint_state().positions).max()
        worst = max(worst, float(gap))
    return worst


@pytest.mark.parametrize(
    ("name", "magnitude"), [("actuator_weakened", 0.4), ("joint_friction", 30)]
)
def test_a_bad_arm_follows_badly_and_a_worse_one_worse(rig, name, magnitude):
    good = tracking_error(rig, None)
    bad = tracking_error(rig, Disturbance(name, 0, magnitude))
    less = tracking_error(rig, Disturbance(name, 0, magnitude / 2))
    assert bad > 2 * good
    assert good < less < bad
    assert good < 5e-3

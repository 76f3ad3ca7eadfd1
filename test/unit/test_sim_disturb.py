"""Disturbances that begin in the middle of an episode."""

import numpy as np
import pytest

from salus_ros.interfaces import seconds
from salus_ros.sim.disturbances import Disturbance
from salus_ros.sim.rig import Rig


@pytest.fixture
def rig():
    rig = Rig()
    rig.reset("pick up the red block", 3)
    yield rig
    rig.close()


def red(rig):
    return next(b.position for b in rig.blocks() if b.color == "red")


def test_begins_now_and_is_told_in_the_status(rig):
    rig.advance(500_000_000)
    before = red(rig)
    rig.disturb(Disturbance("block_pushed", 0, 0.05, direction=0.0))
    assert rig.episode.disturbance == "block_pushed"
    assert seconds(rig.disturbance.onset) == pytest.approx(0.5)
    rig.advance(1_000_000_000)
    assert red(rig)[0] - before[0] > 0.02


def test_ends_when_taken_back(rig):
    rig.disturb(Disturbance("block_pushed", 0, 0.05, direction=0.0))
    rig.advance(20_000_000)
    rig.disturb(None)
    rig.advance(300_000_000)
    resting = red(rig)
    rig.advance(500_000_000)
    assert np.allclose(red(rig), resting, atol=1e-4)
    assert rig.episode.disturbance == "block_pushed"  # it was there


@pytest.mark.parametrize("name", ["block_moved", "wrong_instruction", "distractor"])
def test_a_start_state_cannot_change_later(rig, name):
    with pytest.raises(ValueError, match=f"{name} is part of the start state"):
        rig.disturb(Disturbance(name, 0, 0.1))


def test_needs_an_episode():
    with pytest.raises(ValueError, match="no episode is running"):
        Rig().disturb(None)

"""A calibration from bags, as `salus calibrate signals` makes it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_replay_recordings import STEP, SUCCESS, happenings, status, write
from typer.testing import CliRunner

from salus_ros.cli.main import app
from salus_ros.interfaces import JointCommand, JointState, PolicyState
from salus_ros.replay.recordings import read_recordings
from salus_ros.replay.signal_calibration import calibrate
from salus_ros.signals.calibration import load_calibration
from salus_ros.signals.config import SignalConfig
from salus_ros.signals.layout import SignalError
from salus_ros.signals.monitor import SignalMonitor
from salus_ros.sim.episode import EpisodeStatus, Phase

LAG = 0.08
PERIOD = 10_000_000
USUAL = status(Phase.ENDED, success=True, end=1.0)


def nominal(end, rng):
    """An episode whose arm follows its commands with a lag of LAG, latents drawn anew."""
    for time, thing in happenings(end):
        if isinstance(thing, PolicyState):
            yield time, replace(thing, latent=rng.normal(3.0, 2.0, 5).astype(np.float32))
        else:
            yield time, thing
    yield from motion(end.end)


def motion(seconds, hole=None):
    position = np.zeros(7)
    for k in range(int(seconds * 1e9 / PERIOD)):
        time = k * PERIOD
        target = np.sin(k / 15.0 + np.arange(7)) - np.sin(np.arange(7))
        if hole is None or not hole[0] <= k < hole[1]:
            yield time, JointState(time, position, np.zeros(7), np.empty(0), 0.04)
            yield time, JointCommand(time, target, np.zeros(7), np.zeros(7), 0.04)
        position = position - np.expm1(-PERIOD / 1e9 / LAG) * (target - position)


def undisturbed(things):
    for time, thing in things:
        known = isinstance(thing, EpisodeStatus)
        yield time, replace(thing, disturbance="") if known else thing


@pytest.fixture
def bags(tmp_path):
    rng = np.random.default_rng(5)
    for i in range(5):
        things = sorted(undisturbed(nominal(USUAL, rng)), key=lambda item: item[0])
        write(tmp_path / "bags" / f"usual{i}", things)
    write(tmp_path / "bags" / "disturbed", happenings(SUCCESS))
    return tmp_path / "bags"


def test_the_command_writes_a_calibration_that_the_node_takes(bags, tmp_path):
    file, result = tmp_path / "signals.npz", tmp_path / "result.json"
    arguments = ["calibrate", "signals", "--bags", str(bags), "--out", str(file)]
    done = CliRunner().invoke(app, [*arguments, "--robot", "panda", "--json", str(result)])
    assert done.exit_code == 0, done.output
    calibration = load_calibration(file)
    calibration.require("panda", 8, 7, 5)
    assert np.allclose(calibration.lag_seconds, LAG, rtol=0.15)
    assert (calibration.action_low <= 0).all() and (calibration.action_high >= 2).all()
    found = json.loads(result.read_text())
    assert (found["episodes"], found["episodes_left_out"], found["latents"]) == (5, 1, 15)


def test_signals_with_it_are_valid_and_in_normalised_units(bags):
    calibration, _ = calibrate(read_recordings(bags), "panda")
    monitor = SignalMonitor(SignalConfig(action_dims=8), calibration)
    chunk = next(thing for _, thing in happenings(SUCCESS) if hasattr(thing, "actions"))
    chunk.actions[0], chunk.actions[1] = calibration.action_low, calibration.action_high
    monitor.on_chunk(chunk, 0)
    first, second = monitor.advance(STEP)
    assert first.signals.values[1] == pytest.approx(np.sqrt(8))
    assert second.signals.values[0] == pytest.approx(2 * np.sqrt(8))


def test_a_gap_in_the_motion_is_left_out(tmp_path):
    rng = np.random.default_rng(6)
    end = status(Phase.ENDED, success=True, end=3.0)
    moving = (JointState, JointCommand)
    course = [item for item in nominal(end, rng) if not isinstance(item[1], moving)]
    course += motion(3.0, hole=(100, 160))
    write(tmp_path / "bag", sorted(undisturbed(course), key=lambda item: item[0]))
    calibration, source = calibrate_without_latents(tmp_path)
    assert source.lag_recordings == 1
    assert np.allclose(calibration.lag_seconds, LAG, rtol=0.2)


def calibrate_without_latents(folder):
    recordings = read_recordings(folder)
    bare = [
        replace(e, chunks=replace(e.chunks, latents=np.empty((len(e.chunks.times), 0), np.float32)))
        for e in recordings.episodes
    ]
    return calibrate(replace(recordings, episodes=tuple(bare)), "panda")


def test_what_was_not_recorded_is_named(tmp_path):
    write(tmp_path / "bag", undisturbed(happenings(SUCCESS)))
    calibration, source = calibrate_without_latents(tmp_path)
    assert calibration.latent_mean.size == calibration.lag_seconds.size == 0
    assert [note.partition(":")[0] for note in source.notes] == [
        "no latents",
        "no usable commands and joint states",
    ]


def test_without_an_undisturbed_success_it_says_so(tmp_path):
    write(tmp_path / "bag", happenings(SUCCESS))
    with pytest.raises(SignalError, match="undisturbed success"):
        calibrate(read_recordings(tmp_path), "panda")
    arguments = ["--bags", str(tmp_path), "--out", str(tmp_path / "s.npz"), "--robot", "panda"]
    done = CliRunner().invoke(app, ["calibrate", "signals", *arguments])
    assert "undisturbed success" in str(done.exception)

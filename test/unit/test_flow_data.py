"""Demonstrations on disk, and training on them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pyarrow")

from flow_policies import tiny_config  # noqa: E402

from salus_ros.interfaces import BlockPose  # noqa: E402
from salus_ros.policy.anchor import Start  # noqa: E402
from salus_ros.policy.flow.checkpoint import load_checkpoint  # noqa: E402
from salus_ros.policy.flow.dataset import FrameStore  # noqa: E402
from salus_ros.policy.flow.state import fit_normalisation  # noqa: E402
from salus_ros.policy.flow.training import Trainer, TrainingConfig  # noqa: E402
from salus_ros.sim.demonstrations import Demonstration, Frame  # noqa: E402
from salus_ros.sim.demonstrator import demonstrate  # noqa: E402
from salus_ros.sim.kinematics import tool_down  # noqa: E402
from salus_ros.sim.lerobot_dataset import DatasetWriter, read_info  # noqa: E402
from salus_ros.sim.tasks import TASKS, draw_blocks  # noqa: E402

SETTINGS = {"seed": 0, "disturbed": 0.0, "policy": "demonstrator"}


def frame(rng: np.random.Generator, task, i: int) -> Frame:
    """A moment somewhere above the table; the images are noise."""
    blocks: tuple[BlockPose, ...] = draw_blocks(rng, task)
    joints = tool_down(*rng.uniform([0.4, -0.1, 0.1, -0.5], [0.55, 0.1, 0.3, 0.5]))
    start = Start(np.array([*joints, 0.08]), np.zeros(8))
    images = {c: rng.integers(0, 256, (128, 128, 3)).astype(np.uint8) for c in ("front", "wrist")}
    block = next(b for b in blocks if b.color == task.color)
    chunk = demonstrate(start, 0.08, task, block)
    return Frame(i / 10, images, start, start.targets + 0.001, blocks, chunk)


def episode(seed: int, frames: int = 6) -> Demonstration:
    rng, task = np.random.default_rng(seed), TASKS[seed % len(TASKS)]
    return Demonstration(
        task.instruction, seed, True, tuple(frame(rng, task, i) for i in range(frames))
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("demos")
    writer = DatasetWriter(path, SETTINGS)
    writer.write([episode(0), episode(1)])
    writer.write([episode(2)])
    return path


def test_a_recording_goes_on_and_refuses_other_settings(folder, tmp_path):
    assert DatasetWriter(folder, SETTINGS).episodes == 3
    assert read_info(folder)["total_frames"] == 18
    with pytest.raises(ValueError, match="give another folder"):
        DatasetWriter(folder, {**SETTINGS, "seed": 5})
    with pytest.raises(ValueError, match="no data set"):
        FrameStore([tmp_path], 16)


def test_frames_come_back_with_a_second_instruction_about_the_same_scene(folder):
    store = FrameStore([folder], 16)
    assert store.refresh() and not store.refresh()
    frames = store.frames
    assert len(frames) == 18 and frames.images.shape == (18, 2, 16, 16, 3)
    original = episode(0).frames[3]
    np.testing.assert_allclose(frames.chunks[3, 0], original.chunk, atol=1e-6)
    np.testing.assert_allclose(frames.starts[3], original.start.targets, atol=1e-6)
    first, second = frames.tasks.T
    assert (first != second).all()
    there = [{b.color for b in f.blocks} for e in (0, 1, 2) for f in episode(e).frames]
    assert all(TASKS[t].color in colors for t, colors in zip(second, there, strict=True))
    assert not np.allclose(frames.chunks[:, 0], frames.chunks[:, 1], atol=1e-3)


def test_frames_read_from_the_cache_are_the_same(folder):
    once, again = FrameStore([folder], 16), FrameStore([folder], 16)
    once.refresh()
    again.refresh()
    assert np.array_equal(once.frames.images, again.frames.images)
    assert np.array_equal(once.frames.chunks, again.frames.chunks)


def test_lerobot_reads_the_data_set(folder):
    datasets = pytest.importorskip("lerobot.datasets.lerobot_dataset", exc_type=ImportError)
    dataset = datasets.LeRobotDataset("salus/demos", root=folder)
    assert dataset.num_episodes == 3 and len(dataset) == 18
    item = dataset[7]
    assert item["task"] == TASKS[1].instruction
    assert item["observation.images.wrist"].shape == (3, 128, 128)
    assert item["action"].shape == (8,)


def test_normalisation_round_trip():
    rng = np.random.default_rng(0)
    starts = rng.normal(size=(20, 8)) * 0.1 + 0.05
    chunks = starts[:, None] + np.cumsum(rng.normal(size=(20, 32, 8)) * 0.01, 1)
    chunks[:, 0] = starts
    normalisation = fit_normalisation(rng.normal(size=(20, 29)), chunks, starts, 10)
    there = normalisation.normalise(chunks, starts)
    np.testing.assert_allclose(normalisation.denormalise(there, starts), chunks, atol=1e-12)
    assert there[:, 1:, :7].std(0) == pytest.approx(1.0, abs=0.2)
    assert (normalisation.action_low < normalisation.action_high).all()


def train(folder, out, steps: int) -> dict[str, torch.Tensor]:
    # Without decay and from one schedule, so that a run in two parts is the same run.
    config = TrainingConfig(steps=steps, vision_steps=2, batch=4, decay=1e-9)
    trainer = Trainer(out, FrameStore([folder], 16), tiny_config(dropout=0.0), config, "cpu")
    return trainer.run(lambda _: None).network.state_dict()


def test_training_that_is_gone_on_with_ends_where_one_in_one_piece_does(folder, tmp_path):
    whole = train(folder, tmp_path / "whole", 6)
    train(folder, tmp_path / "parts", 4)
    parts = train(folder, tmp_path / "parts", 6)
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-4, atol=1e-5)
    assert load_checkpoint(tmp_path / "parts").training["trained_steps"] == 6


def test_training_of_another_network_is_not_gone_on_with(folder, tmp_path):
    train(folder, tmp_path, 1)
    config = TrainingConfig(steps=2, batch=4)
    with pytest.raises(ValueError, match="another network"):
        Trainer(tmp_path, FrameStore([folder], 16), tiny_config(width=32), config, "cpu")


def test_training_learns(folder, tmp_path):
    config = TrainingConfig(steps=60, vision_steps=0, batch=16, learning_rate=3e-3, warm_up=5)
    trainer = Trainer(tmp_path, FrameStore([folder], 16), tiny_config(), config, "cpu")
    losses: list[float] = []
    trainer.run(lambda p: losses.append(p.losses["flow"]), report_every=20)
    assert losses[-1] < 0.8 * losses[0]

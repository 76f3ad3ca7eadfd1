"""Camera images: what a vision policy must be able to see."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from salus_ros.sim.disturbances import Disturbance
from salus_ros.sim.rendering import CameraRenderer, blur, cover
from salus_ros.sim.rig import Rig, RigConfig
from salus_ros.sim.world import COLORS

SIZE = 128
# Pixels of a colour: the channels that must be strong, and those that must be weak.
STRONG = {"red": (0,), "green": (1,), "blue": (2,), "yellow": (0, 1)}


@pytest.fixture(scope="module")
def rig():
    rig = Rig(RigConfig(image_size=SIZE))
    rig.reset("pick up the red block", 0)
    try:
        rig.images()
    except RuntimeError as error:
        pytest.skip(f"no off-screen OpenGL here: {error}")
    yield rig
    rig.close()


def pixels(image: np.ndarray, color: str) -> int:
    strong = list(STRONG[color])
    weak = [c for c in range(3) if c not in strong]
    values = image.astype(int)
    return int(((values[..., strong].min(-1) - values[..., weak].max(-1)) > 40).sum())


def test_images_are_square_rgb_of_the_configured_size(rig):
    images = rig.images()
    assert set(images) == {"front", "wrist"}
    for image in images.values():
        assert image.shape == (SIZE, SIZE, 3)
        assert image.dtype == np.uint8


@pytest.mark.parametrize("camera", ["front", "wrist"])
def test_every_block_is_seen_in_its_color_from_home(rig, camera):
    for seed in range(12):
        rig.reset(f"pick up the {COLORS[seed % 4]} block", seed)
        image = rig.images((camera,))[camera]
        present = {b.color for b in rig.blocks()}
        for color in COLORS:
            seen = pixels(image, color)
            assert (seen >= 15) == (color in present), (seed, color, seen)


def test_the_distractor_is_seen(rig):
    rig.reset("pick up the red block", 7)
    plain = rig.images()
    rig.reset("pick up the red block", 7, "distractor")
    differing = (plain["front"] != rig.images()["front"]).any(-1).sum()
    assert 15 < differing < 0.1 * SIZE * SIZE


def test_the_same_snapshot_gives_the_same_images_in_another_thread(rig):
    rig.reset("pick up the red block", 3)
    snapshot, here = rig.snapshot(), rig.images()
    rig.advance(100_000_000)
    found = {}

    def render() -> None:
        # OpenGL contexts belong to a thread: made, used and closed in it.
        renderer = CameraRenderer(rig.scene, SIZE)
        found.update(renderer.render(snapshot))
        renderer.close()

    thread = threading.Thread(target=render)
    thread.start()
    thread.join()
    for name, image in here.items():
        assert (found[name] == image).all()


def disturbed(rig: Rig, name: str, magnitude: float) -> tuple[dict, dict]:
    """Images of one state just before the onset, and after it."""
    rig.reset("pick up the red block", 3, Disturbance(name, 20_000_000, magnitude, 0.7))
    rig.advance(10_000_000)
    before = rig.images()
    rig.advance(10_000_000)
    return before, rig.images()


def test_a_covered_camera_is_black_over_its_share(rig):
    before, after = disturbed(rig, "camera_covered", 0.5)
    for name in before:
        assert not after[name][:, : SIZE // 2].any()
        moved = (after[name] != before[name]).any(-1)[:, SIZE // 2 :]
        assert moved.mean() < 0.05, "the rest is as before, but for what moved in 10 ms"


def test_a_blurred_camera_has_less_contrast_at_the_same_brightness(rig):
    before, after = disturbed(rig, "camera_blurred", 0.05)
    for name in before:
        assert after[name].mean() == pytest.approx(before[name].mean(), abs=3)
        sharp, soft = (np.abs(np.diff(i[name].astype(int), axis=1)).max() for i in (before, after))
        assert soft < sharp / 2


def test_a_shifted_camera_sees_the_blocks_elsewhere(rig):
    def middle(image: np.ndarray) -> np.ndarray:
        red = (image[..., 0].astype(int) - image[..., 1:].max(-1)) > 40
        return np.argwhere(red).mean(axis=0)

    before, after = disturbed(rig, "camera_shifted", 0.1)
    gap = np.linalg.norm(middle(after["front"]) - middle(before["front"]))
    # 0.1 rad of a view of 39 degrees.
    assert gap == pytest.approx(0.1 / np.radians(39) * SIZE, rel=0.3)


def test_blur_keeps_flat_images_and_averages_others():
    flat = np.full((9, 9, 3), 77, np.uint8)
    assert (blur(flat, 2) == 77).all()
    dot = np.zeros((9, 9, 3), np.uint8)
    dot[4, 4] = 250
    soft = blur(dot, 1)
    assert (soft[3:6, 3:6] == round(250 / 9)).all()
    assert soft.astype(int).sum() == 9 * 3 * round(250 / 9)


def test_cover_leaves_its_input_alone():
    image = np.full((4, 8, 3), 9, np.uint8)
    covered = cover(image, 0.25, left=False)
    assert (covered[:, 6:] == 0).all() and (covered[:, :6] == 9).all()
    assert (image == 9).all()
    assert (cover(image, 0.0, left=True) == image).all()

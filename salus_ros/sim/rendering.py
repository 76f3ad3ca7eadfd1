"""Camera images of a snapshot, apart from the physics.

A snapshot is a few numbers, taken where the rig runs; a CameraRenderer turns it into images where
it pleases. An EGL context belongs to the thread that made it: create, use and close a renderer in
one thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import BlockPose, FloatArray, JointState
from salus_ros.sim.disturbances import Disturbance
from salus_ros.sim.engine import mujoco
from salus_ros.sim.scene import Scene
from salus_ros.sim.world import CAMERAS

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rig at one time: all that an observation is made of.

    qpos: MuJoCo's generalised positions. camera_fault: the camera disturbance in force, if any.
    """

    stamp: int
    qpos: FloatArray
    joints: JointState
    blocks: tuple[BlockPose, ...]
    camera_fault: Disturbance | None = None


class CameraRenderer:
    """Renders snapshots of one scene, square images of `size` px."""

    def __init__(self, scene: Scene, size: int = 128) -> None:
        """Make the OpenGL context. Raises RuntimeError, in one line, where there is none."""
        self._model = scene.model
        self._data = mujoco.MjData(scene.model)
        try:
            self._renderer = mujoco.Renderer(scene.model, size, size)
        except Exception as error:
            raise RuntimeError(
                f"no off-screen OpenGL ({error}); install libegl1 and libgl1-mesa-dri, or set"
                " MUJOCO_GL=osmesa with libosmesa6"
            ) from error
        flags = self._renderer.scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = 0

    def render(self, snapshot: Snapshot, cameras: Iterable[str] = CAMERAS) -> dict[str, Image]:
        """Images [size, size, 3] uint8 RGB by camera name.

        Raises ValueError for a camera that the scene doesn't have.
        """
        wanted = tuple(cameras)
        unknown = sorted(set(wanted) - set(CAMERAS))
        if unknown:
            raise ValueError(f"unknown camera {unknown[0]!r}; known: {', '.join(CAMERAS)}")
        self._data.qpos[:] = snapshot.qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        fault = snapshot.camera_fault
        if fault is not None and fault.name == "camera_shifted":
            self._turn_cameras(fault)
        return {name: self._one(name, fault) for name in wanted}

    def _one(self, camera: str, fault: Disturbance | None) -> Image:
        self._renderer.update_scene(self._data, camera)
        image: Image = np.asarray(self._renderer.render(), np.uint8)
        if fault is not None and fault.name == "camera_covered":
            return cover(image, fault.magnitude, left=fault.direction > 0)
        if fault is not None and fault.name == "camera_blurred":
            return blur(image, round(fault.magnitude * image.shape[1]))
        return image

    def _turn_cameras(self, fault: Disturbance) -> None:
        """Turn every camera about an axis in its image plane, by `magnitude` rad."""
        axis = np.array([np.cos(fault.direction), np.sin(fault.direction), 0.0])
        quaternion, turn = np.zeros(4), np.zeros(9)
        mujoco.mju_axisAngle2Quat(quaternion, axis, fault.magnitude)
        mujoco.mju_quat2Mat(turn, quaternion)
        for i in range(self._model.ncam):
            pose = self._data.cam_xmat[i].reshape(3, 3)
            self._data.cam_xmat[i] = (pose @ turn.reshape(3, 3)).ravel()

    def close(self) -> None:
        """Free the OpenGL context, in the thread that made it."""
        self._renderer.close()


def cover(image: Image, share: float, left: bool) -> Image:
    """The image with `share` (0 to 1) of its width black, from the left or from the right."""
    columns = round(min(max(share, 0.0), 1.0) * image.shape[1])
    covered: Image = image.copy()
    if columns:
        covered[:, slice(0, columns) if left else slice(-columns, None)] = 0
    return covered


def blur(image: Image, radius: int) -> Image:
    """The image averaged over squares of 2 * radius + 1 px; the border is repeated."""
    if radius < 1:
        return np.array(image)
    result = image.astype(np.float32)
    for axis in (0, 1):
        result = _moving_average(result, radius, axis)
    return np.asarray(np.rint(result), np.uint8)


def _moving_average(values: NDArray[np.float32], radius: int, axis: int) -> NDArray[np.float32]:
    padding = [(0, 0)] * values.ndim
    padding[axis] = (radius + 1, radius)
    sums = np.cumsum(np.pad(values, padding, mode="edge"), axis=axis, dtype=np.float64)
    count, width = values.shape[axis], 2 * radius + 1
    ends = np.take(sums, range(width, count + width), axis)
    starts = np.take(sums, range(count), axis)
    average: NDArray[np.float32] = ((ends - starts) / width).astype(np.float32)
    return average

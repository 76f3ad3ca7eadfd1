"""The MuJoCo model: gym-hil's Panda with a Robotiq 2F-85, a table, coloured blocks, two cameras.

The robot's base frame is the world's: x forward, y left, z up, the table's surface at z = 0.

What is left out of gym-hil's model, and why: the arm's 30 MB of visual meshes (the convex
collision meshes are drawn in their place: 1.5 ms a frame in software instead of 18) and the
gripper's two large housing meshes (boxes in their place); its sensors (nobody reads them).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.sim.engine import asset_folder, mujoco
from salus_ros.sim.world import (
    BLOCK_MASS,
    BLOCK_SIZE,
    CAMERAS,
    COLORS,
    DISTRACTOR,
    GRIPPER_NAME,
    HOME,
    JOINT_NAMES,
    TIME_STEP,
)

# The world's names belong to the scene, too, for those who have MuJoCo anyway.
__all__ = [
    "BLOCK_MASS",
    "BLOCK_SIZE",
    "CAMERAS",
    "COLORS",
    "DISTRACTOR",
    "GRIPPER_NAME",
    "HOME",
    "JOINT_NAMES",
    "TIME_STEP",
    "Scene",
    "build_scene",
    "parking_place",
    "yaw_quaternion",
]

_RGBA = {
    "red": (0.85, 0.08, 0.08, 1.0),
    "green": (0.10, 0.65, 0.15, 1.0),
    "blue": (0.10, 0.25, 0.90, 1.0),
    "yellow": (0.95, 0.85, 0.10, 1.0),
    DISTRACTOR: (0.75, 0.25, 0.80, 1.0),
}
_ARM_WHITE = (0.90, 0.90, 0.92, 1.0)
_HOUSING_BLACK = (0.15, 0.15, 0.15, 1.0)

# Contact bits. The robot touches table and blocks; of itself only hand against base and finger
# against finger are checked, the pairs that a Panda inside its joint limits can bring together.
_WORLD, _ROBOT, _HAND, _FINGER = 1, 2, 4, 8
_BASE_LINKS = {"link0", "link1", "link2"}
_HAND_LINKS = {"link5", "link6", "link7", "base_mount", "base"}


@dataclass(frozen=True, slots=True)
class Scene:
    """A compiled model and where its parts lie in MuJoCo's arrays.

    block_qpos, block_qvel: first index of each block's free joint, by colour (and `distractor`).
    labels [geoms]: 1 and 2 for the left and right finger's pads, 10 + i for block i, else 0.
    collision_pairs: what each row of the contact sensors' forces stands for.
    """

    model: Any
    block_qpos: dict[str, int]
    block_qvel: dict[str, int]
    labels: tuple[int, ...]
    collision_pairs: tuple[str, ...]
    tool_site: int


def build_scene(image_size: int = 128) -> Scene:
    """Compile the model; image_size [px] is the largest picture that can be rendered.

    Raises FileNotFoundError where gym-hil's assets are missing.
    """
    spec = mujoco.MjSpec.from_file(str(asset_folder() / "scene.xml"))
    _strip(spec)
    _simplify_robot(spec)
    _set_contact_bits(spec)
    _add_table(spec)
    objects = (*COLORS, DISTRACTOR)
    for name in objects:
        _add_object(spec, name)
    _add_cameras(spec, image_size)
    pairs = _add_contact_sensors(spec, objects)
    _set_options(spec)
    _drop_unused_meshes(spec)
    model = spec.compile()
    return Scene(
        model=model,
        block_qpos={n: int(model.joint(n).qposadr[0]) for n in objects},
        block_qvel={n: int(model.joint(n).dofadr[0]) for n in objects},
        labels=_labels(model),
        collision_pairs=pairs,
        tool_site=int(model.site("pinch").id),
    )


def _strip(spec: Any) -> None:
    for sensor in list(spec.sensors):
        spec.delete(sensor)
    for light in list(spec.lights):
        spec.delete(light)
    for name in ("block", "target"):
        spec.delete(spec.body(name))
    spec.delete(spec.geom("floor"))
    for camera in list(spec.cameras):
        spec.delete(camera)


def _simplify_robot(spec: Any) -> None:
    for geom in list(spec.geoms):
        is_arm = geom.parent.name.startswith("link")
        if (is_arm and geom.contype == 0) or geom.meshname in ("base", "base_mount"):
            spec.delete(geom)
        elif is_arm:
            geom.rgba = _ARM_WHITE
            geom.group = 2
        elif geom.contype and geom.meshname in ("driver", "coupler", "spring_link"):
            # The fingers' outer linkage is drawn by its visual twin; the follower stands for it.
            spec.delete(geom)
        elif geom.contype and geom.meshname:
            geom.group = 3
    box = mujoco.mjtGeom.mjGEOM_BOX
    cylinder = mujoco.mjtGeom.mjGEOM_CYLINDER
    spec.body("base_mount").add_geom(
        type=cylinder, size=[0.0375, 0.008, 0], rgba=_HOUSING_BLACK, mass=0.1, group=2
    )
    spec.body("base").add_geom(
        type=box, size=[0.022, 0.042, 0.038], pos=[0, 0, 0.044], rgba=_HOUSING_BLACK, group=2
    )


def _set_contact_bits(spec: Any) -> None:
    for geom in spec.geoms:
        if geom.contype == 0:
            continue
        body = geom.parent.name
        geom.contype, geom.conaffinity = _ROBOT, 0
        if body in _BASE_LINKS:
            geom.conaffinity = _HAND
        elif body in _HAND_LINKS:
            geom.contype |= _HAND
        elif body == "right_pad":
            geom.contype |= _FINGER
        elif body == "left_pad":
            geom.conaffinity = _FINGER


def _add_table(spec: Any) -> None:
    spec.worldbody.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        # The third number is the grid that the renderer splits the plane into: coarse is quick.
        size=[4, 4, 2],
        rgba=[0.62, 0.60, 0.57, 1],
        conaffinity=_WORLD | _ROBOT,
    )
    spec.worldbody.add_light(pos=[0.3, 0.4, 2.5], dir=[0.1, -0.2, -1], diffuse=[0.6] * 3)
    spec.visual.headlight.ambient = [0.35] * 3
    spec.visual.headlight.diffuse = [0.35] * 3
    spec.visual.headlight.specular = [0.0] * 3


def _add_object(spec: Any, name: str) -> None:
    body = spec.worldbody.add_body(name=name, pos=parking_place(name))
    body.add_freejoint(name=name)
    is_block = name != DISTRACTOR
    half = BLOCK_SIZE / 2
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX if is_block else mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=[half, half, half],
        mass=BLOCK_MASS,
        rgba=_RGBA[name],
        friction=[0.8, 0.01, 0.0005],
        conaffinity=_WORLD | _ROBOT,
    )


def parking_place(name: str) -> list[float]:
    """Where an object that takes no part stands [3] m: out of reach, behind the front camera."""
    index = (*COLORS, DISTRACTOR).index(name)
    return [3.0, 0.2 * index, BLOCK_SIZE / 2]


def _add_cameras(spec: Any, image_size: int) -> None:
    spec.worldbody.add_camera(
        name="front", pos=[1.15, 0.0, 0.60], xyaxes=[0, 1, 0, -0.54, 0, 0.84], fovy=39
    )
    # Beside the flange, looking past the fingers, as a wrist camera on a bracket does.
    spec.body("attachment").add_camera(
        name="wrist", pos=[-0.085, 0, 0.03], xyaxes=[0, -1, 0, -0.94, 0, 0.34], fovy=70
    )
    spec.visual.global_.offwidth = spec.visual.global_.offheight = max(image_size, 64)
    # Shadows and multi-sampling cost ten times the rest in software.
    spec.visual.quality.shadowsize = 0
    spec.visual.quality.offsamples = 0


def _add_contact_sensors(spec: Any, objects: tuple[str, ...]) -> tuple[str, ...]:
    """Net contact force [3] N of the robot against each object, the table and its own base.

    The net force leaves the squeeze of a grasp out: the two fingers' forces cancel.
    """
    xbody, body, geom = (
        mujoco.mjtObj.mjOBJ_XBODY,
        mujoco.mjtObj.mjOBJ_BODY,
        mujoco.mjtObj.mjOBJ_GEOM,
    )
    pairs = [("link1", body, name, name) for name in objects]
    pairs.append(("link1", geom, "table", "table"))
    pairs += [("link5", body, link, "itself") for link in ("link0", "link1", "link2")]
    for first, kind, second, _ in pairs:
        spec.add_sensor(
            type=mujoco.mjtSensor.mjSENS_CONTACT,
            objtype=xbody,
            objname=first,
            reftype=kind,
            refname=second,
            # [what: bit 1, the force], [reduction: 3, the net force], [number of results]
            intprm=[2, 3, 1],
        )
    return tuple(label for *_, label in pairs)


def _set_options(spec: Any) -> None:
    spec.option.timestep = TIME_STEP * 1e-9
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # Elliptic cones with stiff friction hold a grasped block without the costly no-slip solver.
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 50
    spec.option.noslip_iterations = 0
    spec.option.iterations = 30


def _drop_unused_meshes(spec: Any) -> None:
    used = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if (mesh.name or PurePath(mesh.file).stem) not in used:
            spec.delete(mesh)


def _labels(model: Any) -> tuple[int, ...]:
    labels = [0] * model.ngeom
    for side, label in (("left", 1), ("right", 2)):
        for number in (1, 2):
            labels[model.geom(f"{side}_pad{number}").id] = label
    for i, name in enumerate(COLORS):
        labels[model.geom(name).id] = 10 + i
    return tuple(labels)


def yaw_quaternion(yaw: float) -> FloatArray:
    """Quaternion [4] (w, x, y, z) of a turn by yaw [rad] about z."""
    return np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])

"""Installs salus_ros: with pip on PyPI's ROS wheels, or as an ament_python package with colcon.

With SALUS_COMPILE=1 the modules of every tick are compiled by mypyc, from the same source; without
it they run as they are, to the same numbers, and take more than twice as long.
"""

import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_ext import build_ext

NODES = [
    "vla_policy",
    "signal_publisher",
    "failure_predictor",
    "safety_supervisor",
    "lifecycle_manager",
    "sim_rig",
    "franka_bridge",
]

# What runs at each tick, live and in replay.
COMPILED = {
    "supervision": """
        activation arm_kinematics chunk_checks chunk_reception command_clock detector_guard
        follower freshness gate_replay gate_report gate_tick gripper intake interpolation
        interventions limited limits measurement modes motion motion_setup operators parties
        plan plan_clock plan_completion plan_judge plan_keeper prediction_gate reference
        robot_guard space_guard stop workspace
    """,
    "supervision/detectors": """
        row_scores
    """,
    "replay": """
        clocked_player event_reader gate_stage mcap_reading mcap_recovery player
        signal_stage traced_player
    """,
    "signals": """
        distribution extractor lag latent layout monitor step_clock
    """,
}


def compiled_sources():
    """Paths of the modules to compile, below the package."""
    return [
        str(Path("salus_ros", folder, f"{name}.py"))
        for folder, names in COMPILED.items()
        for name in names.split()
    ]


def extensions():
    if os.environ.get("SALUS_COMPILE") != "1":
        return []
    from mypyc.build import mypycify  # noqa: PLC0415  (only where asked for)

    # What is imported may be missing here, and is judged by `make lint`.
    missing = ["--ignore-missing-imports", "--follow-imports=silent", "--no-warn-unused-ignores"]
    options = ["--config-file", "pyproject.toml", *missing]
    with redirect_stdout(sys.stderr):  # colcon reads the other
        found = mypycify(
            [*options, *compiled_sources()],
            group_name="salus_ros.ticks",
            opt_level="2",
            debug_level="0",
            multi_file=True,  # one C file a module, for all cores
        )
    for extension in found:  # where the group's header is written
        extension.include_dirs.append("build/salus_ros")
    return found


def compile_on_all_cores(
    compiler, sources, output_dir, macros, include_dirs, debug, extra_postargs, depends
):
    """As the compiler's own `compile`, which takes one file after the other."""
    macros, objects, extra, options, build = compiler._setup_compile(
        output_dir, macros, include_dirs, sources, depends, extra_postargs
    )
    arguments = compiler._get_cc_args(options, debug, None)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(compiler._compile, made, *build[made], arguments, extra, options)
            for made in build
        ]
    for job in jobs:
        job.result()
    return objects


class BuildRecorded(build_ext):
    """Leaves beside the compiled modules what sources they were made of (salus_ros/compiled.py)."""

    def build_extensions(self):
        self.compiler.compile = partial(compile_on_all_cores, self.compiler)
        super().build_extensions()

    def run(self):
        super().run()
        if self.extensions:
            root = Path("." if self.inplace else self.build_lib)
            hashes = {
                path: hashlib.sha256(Path(path).read_bytes()).hexdigest()
                for path in compiled_sources()
            }
            (root / "salus_ros" / "compiled.json").write_text(json.dumps(hashes, indent=1))


setup(
    name="salus_ros",
    version="0.1.0",
    description="Real-time ROS 2 nodes for vision-language-action policies, supervised",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["salus_ros", "salus_ros.*"]),
    package_data={"salus_ros": ["py.typed", "policy/flow/weights/*"]},
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildRecorded},
    data_files=[
        ("share/ament_index/resource_index/packages", ["config/salus_ros"]),
        ("share/salus_ros", ["package.xml"]),
        ("share/salus_ros/launch", [str(path) for path in Path("launch").glob("*.launch.py")]),
        (
            "share/salus_ros/config",
            [str(path) for path in Path("config").glob("*.*") if path.is_file()],
        ),
        ("share/salus_ros/config/sros2", ["config/sros2/policies.xml"]),
        ("share/salus_ros/config/presets", [str(p) for p in Path("config/presets").glob("*.yaml")]),
    ],
    install_requires=[
        "numpy",
        "plotly",
        "pyyaml",
        "rich",
        "rosbags",
        "ruckig",
        "safetensors",
        "typer",
    ],
    extras_require={
        "sim": ["gym-hil", "mujoco<3.9"],
        # nvidia-ml-py tells the energy of a GPU.
        "policy": ["nvidia-ml-py", "torch<2.11"],
        # LeRobot 0.5 needs Python 3.12; torchao 0.16 breaks its import of diffusers.
        "lerobot": ["lerobot[smolvla]==0.4.4", "torchao==0.15.0"],
        # LeRobot data sets: recordings for `salus calibrate` and `evaluate supervisor`, and the
        # demonstrations of `salus record demos` and `salus train policy`.
        "datasets": ["huggingface-hub", "pillow", "pyarrow"],
        # `salus replay --engine dask`: bags on many machines.
        "cluster": ["distributed"],
        "test": [
            "distributed",
            "hypothesis",
            "mcap-ros2-support",
            "mypy",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "ruff",
            "types-PyYAML",
        ],
    },
    entry_points={
        "console_scripts": [
            "salus = salus_ros.cli.main:main",
            *(f"{node} = salus_ros.nodes.{node}:main" for node in NODES),
        ]
    },
)

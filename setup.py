"""Installs salus_ros: with pip on PyPI's ROS wheels, or as an ament_python package with colcon."""

from pathlib import Path

from setuptools import find_packages, setup

NODES = [
    "vla_policy",
    "signal_publisher",
    "failure_predictor",
    "safety_supervisor",
    "lifecycle_manager",
    "sim_rig",
    "franka_bridge",
]

setup(
    name="salus_ros",
    version="0.1.0",
    description="Real-time ROS 2 nodes for vision-language-action policies, supervised",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["salus_ros", "salus_ros.*"]),
    package_data={"salus_ros": ["py.typed", "policy/flow/weights/*"]},
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

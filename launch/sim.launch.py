"""The whole graph on the simulated Panda.

    ros2 launch salus_ros sim.launch.py instruction:='pick up the blue block' seed:=3

Arguments: see `ros2 launch salus_ros sim.launch.py --show-args`.
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription

ARGUMENTS = (
    DeclareLaunchArgument(
        "config", default_value="sim_panda", description="Parameter file, by path or name."
    ),
    DeclareLaunchArgument("policy", default_value="", description="Policy; empty: the file's."),
    DeclareLaunchArgument(
        "instruction", default_value="pick up the red block", description="Task of the rig."
    ),
    DeclareLaunchArgument("seed", default_value="0", description="Seed of the start state."),
    DeclareLaunchArgument(
        "disturbance", default_value="", description="Disturbance of the episode; empty: none."
    ),
    DeclareLaunchArgument(
        "window",
        default_value="false",
        choices=["true", "false"],
        description="Show the rig in a window.",
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=["true", "false"],
        description="Configure and activate all nodes at once.",
    ),
)


def end_where_it_failed(event, context):
    """The rig ends with an error code only where it can't work; killed, it leaves the rest up."""
    if event.returncode > 0 and not context.is_shutdown:
        return [EmitEvent(event=Shutdown(reason="the rig can't work: see above"))]
    return None


def rig(context):
    def value(name):
        return LaunchConfiguration(name).perform(context)

    config = value("config")
    if not Path(config).is_file():
        folder = Path(get_package_share_directory("salus_ros")) / "config"
        path = folder / f"{config.removesuffix('.yaml')}.yaml"
        if not path.is_file():
            # Checked before anything is started, so that nothing is left running.
            known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
            raise RuntimeError(f"config:={config} is neither a file nor one of: {known}")
        config = str(path)
    task = {
        "instruction": value("instruction"),
        "seed": int(value("seed")),
        "disturbance": value("disturbance"),
        "window": value("window") == "true",
    }
    # Shared memory can hold up a publishing control loop: see config/fastdds_loopback.xml.
    udp = SetEnvironmentVariable(
        "FASTDDS_BUILTIN_TRANSPORTS", os.environ.get("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    )
    return [
        udp,
        Node(
            package="salus_ros",
            executable="sim_rig",
            name="sim_rig",
            parameters=[config, task],
            output="screen",
            on_exit=end_where_it_failed,
        ),
    ]


def generate_launch_description():
    folder = Path(get_package_share_directory("salus_ros")) / "launch"
    bringup = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(folder / "bringup.launch.py")),
        launch_arguments={
            name: LaunchConfiguration(name) for name in ("config", "policy", "autostart")
        }.items(),
    )
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=rig), bringup])

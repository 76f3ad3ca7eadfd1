"""The whole graph on the simulated Panda.

    ros2 launch salus_ros sim.launch.py instruction:='pick up the blue block' seed:=3

Arguments: see `ros2 launch salus_ros sim.launch.py --show-args`.
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription
from salus_ros.launching import (
    end_where_it_failed,
    parameter_file,
    values,
    without_shared_memory,
)
from salus_ros.resources import share_folder

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


def rig(context):
    value = values(context)
    # Checked before anything is started, so that nothing is left running.
    config = parameter_file(value("config"))
    task = {
        "instruction": value("instruction"),
        "seed": int(value("seed")),
        "disturbance": value("disturbance"),
        "window": value("window") == "true",
    }
    return [
        without_shared_memory(),
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
    bringup = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(share_folder() / "launch" / "bringup.launch.py")),
        launch_arguments={
            name: LaunchConfiguration(name) for name in ("config", "policy", "autostart")
        }.items(),
    )
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=rig), bringup])

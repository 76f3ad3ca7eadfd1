"""All managed nodes and their manager, for an arm whose driver is already running.

    ros2 launch salus_ros bringup.launch.py config:=fr3 policy:=my_policy

Arguments: see `ros2 launch salus_ros bringup.launch.py --show-args`.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction

from launch import LaunchDescription
from salus_ros.launching import graph_nodes, parameter_file, values, without_shared_memory
from salus_ros.policy_choice import choose_policy

ARGUMENTS = (
    DeclareLaunchArgument(
        "config",
        default_value="fr3",
        description="Parameter file: a path, or a name in the package's config folder.",
    ),
    DeclareLaunchArgument(
        "policy", default_value="", description="Policy to run; empty: the parameter file's."
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=["true", "false"],
        description="Configure and activate all nodes at once.",
    ),
    DeclareLaunchArgument(
        "restart",
        default_value="false",
        choices=["true", "false"],
        description="Restart signal_publisher and failure_predictor when they die.",
    ),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="false",
        choices=["true", "false"],
        description="Take the time from /clock.",
    ),
)


def nodes(context):
    value = values(context)
    config = parameter_file(value("config"))
    graph = graph_nodes(
        config,
        {
            "/**": {"use_sim_time": value("use_sim_time") == "true"},
            **choose_policy(Path(config), value("policy")),
        },
        autostart=value("autostart") == "true",
        restart=value("restart") == "true",
    )
    return [without_shared_memory(), *graph]


def generate_launch_description():
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])

"""All managed nodes and their manager, for an arm whose driver is already running.

    ros2 launch salus_ros bringup.launch.py config:=fr3 policy:=my_policy

Arguments: see `ros2 launch salus_ros bringup.launch.py --show-args`.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchDescription
from salus_ros.launching import (
    end_where_it_failed,
    parameter_file,
    values,
    without_shared_memory,
)

MANAGED = ("safety_supervisor", "failure_predictor", "signal_publisher", "vla_policy")
# Policy and supervisor are never restarted by themselves: a person looks first.
RESTARTABLE = ("failure_predictor", "signal_publisher")

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
    common = [parameter_file(value("config")), {"use_sim_time": value("use_sim_time") == "true"}]
    policy = [{"policy": value("policy")}] if value("policy") else []
    restart = value("restart") == "true"
    managed = [
        LifecycleNode(
            package="salus_ros",
            executable=name,
            name=name,
            namespace="",
            parameters=common + (policy if name == "vla_policy" else []),
            respawn=restart and name in RESTARTABLE,
            on_exit=end_where_it_failed,
            output="screen",
        )
        for name in MANAGED
    ]
    manager = Node(
        package="salus_ros",
        executable="lifecycle_manager",
        name="lifecycle_manager",
        parameters=[
            *common,
            {
                "autostart": value("autostart") == "true",
                "restore_lost_nodes": restart,
                "exit_on_failure": True,
            },
        ],
        on_exit=end_where_it_failed,
        output="screen",
    )
    return [without_shared_memory(), *managed, manager]


def generate_launch_description():
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])

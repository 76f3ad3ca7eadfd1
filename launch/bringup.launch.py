"""All managed nodes and their manager, for an arm whose driver is already running.

    ros2 launch salus_ros bringup.launch.py config:=fr3 policy:=my_policy

Arguments: see `ros2 launch salus_ros bringup.launch.py --show-args`.
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchDescription

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


def parameter_file(name):
    """A path, or a name in config/."""
    if Path(name).is_file():
        return name
    folder = Path(get_package_share_directory("salus_ros")) / "config"
    path = folder / f"{name.removesuffix('.yaml')}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise RuntimeError(f"config:={name} is neither a file nor one of: {known}")
    return str(path)


def end_where_it_failed(event, context):
    """A node ends with an error code only where it can't work; then nothing can.

    One that was killed (a negative code) leaves the rest up: the supervisor holds the arm.
    """
    if event.returncode > 0 and not context.is_shutdown:
        return [EmitEvent(event=Shutdown(reason=f"{event.action.name} can't work: see above"))]
    return None


def nodes(context):
    def value(name):
        return LaunchConfiguration(name).perform(context)

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
    # Shared memory can hold up a publishing control loop: see config/fastdds_loopback.xml.
    udp = SetEnvironmentVariable(
        "FASTDDS_BUILTIN_TRANSPORTS", os.environ.get("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    )
    return [udp, *managed, manager]


def generate_launch_description():
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])

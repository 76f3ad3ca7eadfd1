"""The graph for a Franka Research 3 whose driver (franka_ros2) runs, on one machine or two.

    ros2 launch salus_ros franka.launch.py machine:=robot    # on the robot's PC
    ros2 launch salus_ros franka.launch.py machine:=gpu      # where the policy runs

Step by step, with the driver: docs/deployment.md. `--show-args` lists the arguments.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction

from launch import LaunchDescription
from salus_ros.launching import (
    graph_nodes,
    parameter_file,
    plain_node,
    values,
    without_shared_memory,
)

BRIDGE = "franka_bridge"
MACHINES = {
    # What must not wait for a network is beside the robot.
    "robot": (BRIDGE, "safety_supervisor", "lifecycle_manager"),
    "gpu": ("vla_policy", "signal_publisher", "failure_predictor"),
}
MACHINES["all"] = MACHINES["robot"] + MACHINES["gpu"]
# What the robot's controller is sent; the rate is that of the supervisor [Hz].
OUTPUTS = {
    "joint_trajectory": {"command_topic": "/joint_trajectory_controller/joint_trajectory"},
    "float64_multi_array": {
        "command_topic": "/forward_position_controller/commands",
        "rate": 1000.0,
        "controller_rate": 1000.0,
    },
}

ARGUMENTS = (
    DeclareLaunchArgument(
        "config", default_value="fr3", description="Parameter file, by path or name."
    ),
    DeclareLaunchArgument(
        "machine",
        default_value="all",
        choices=list(MACHINES),
        description="robot: bridge, supervisor, manager; gpu: policy, signals, predictor.",
    ),
    DeclareLaunchArgument("policy", default_value="", description="Policy; empty: the file's."),
    DeclareLaunchArgument(
        "checkpoint", default_value="", description="The policy's weights; empty: the file's."
    ),
    DeclareLaunchArgument(
        "mapping",
        default_value="",
        description="File that fits a LeRobot policy's features to this robot; empty: the file's.",
    ),
    DeclareLaunchArgument(
        "cameras",
        default_value="",
        description="Topics of the policy's cameras, as 'front=/zed/rgb/image, wrist=/rs/image'; "
        "empty: the file's.",
    ),
    DeclareLaunchArgument(
        "robot_namespace",
        default_value="/fr3",
        description="Namespace that franka_ros2 was started in.",
    ),
    DeclareLaunchArgument(
        "output",
        default_value="joint_trajectory",
        choices=list(OUTPUTS),
        description="Controller of the arm: joint_trajectory at 100 Hz, float64_multi_array at its "
        "own 1000 Hz.",
    ),
    DeclareLaunchArgument(
        "hand",
        default_value="true",
        choices=["true", "false"],
        description="The arm has a Franka Hand, and the policy commands it.",
    ),
    DeclareLaunchArgument(
        "enable_switch",
        default_value="true",
        choices=["true", "false"],
        description="The arm moves only while /salus/enable says so.",
    ),
    DeclareLaunchArgument(
        "require_prediction",
        default_value="true",
        choices=["true", "false"],
        description="The arm moves only while there are failure predictions, from a checkpoint.",
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="true",
        choices=["true", "false"],
        description="Configure and activate all nodes at once, on both machines.",
    ),
    DeclareLaunchArgument(
        "restart",
        default_value="false",
        choices=["true", "false"],
        description="Restart signal_publisher and failure_predictor when they die.",
    ),
)


def overrides(value):
    """Parameters by node, from the arguments."""
    robot = value("robot_namespace").rstrip("/")
    output = dict(OUTPUTS[value("output")])
    output["command_topic"] = robot + output["command_topic"]
    options = {"policy": "policy", "checkpoint": "checkpoint", "mapping": "mapping"}
    options["cameras"] = "camera_topics"
    chosen = {
        BRIDGE: {"robot_namespace": robot or "/"},
        "safety_supervisor": {
            "output": value("output"),
            "robot_description_topic": f"{robot}/robot_description",
            "require_enable": value("enable_switch") == "true",
            "require_prediction": value("require_prediction") == "true",
            **output,
        },
        "vla_policy": {to: value(name) for name, to in options.items() if value(name)},
    }
    if value("hand") == "false":
        for name in (BRIDGE, "safety_supervisor", "vla_policy", "signal_publisher"):
            chosen.setdefault(name, {})["gripper_name"] = ""
    return chosen


def nodes(context):
    value = values(context)
    config = parameter_file(value("config"))
    names, chosen = MACHINES[value("machine")], overrides(value)
    graph = graph_nodes(
        config,
        chosen,
        names=names,
        autostart=value("autostart") == "true",
        restart=value("restart") == "true",
    )
    bridge = [plain_node(BRIDGE, config, chosen)] if BRIDGE in names else []
    return [without_shared_memory(), *bridge, *graph]


def generate_launch_description():
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])

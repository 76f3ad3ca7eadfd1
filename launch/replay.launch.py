"""Signals, predictor and supervisor on simulated time under a real `ros2 bag play`.

    ros2 launch salus_ros replay.launch.py bag:=rollouts/episode_00000

What the nodes say is on their usual topics; what the bag holds of these is under /recorded.
Commands go to /replay/joint_commands alone, whatever the parameter file says: no robot listens
there. Joint states of the past must not reach a robot's supervisor, either: use a ROS_DOMAIN_ID
that no robot has. The supervisor keeps its own time between ticks, so the bag is played as fast as
it was recorded. For figures that are the same each time, and faster: `salus replay`.
Arguments: see `ros2 launch salus_ros replay.launch.py --show-args`.
"""

from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.logging import launch_config
from launch_ros.actions import SetRemap
from launch_ros.event_handlers import OnStateTransition

from launch import LaunchDescription
from salus_ros.launching import graph_nodes, parameter_file, values, without_shared_memory
from salus_ros.nodes import topics

# The supervisor last: once it is configured, discovery has had its time and the bag can begin.
NODES = ("signal_publisher", "failure_predictor", "safety_supervisor")
INPUTS = (
    topics.JOINT_STATES,
    topics.ACTION_CHUNK,
    topics.TRAJECTORY_INPUT,
    topics.TARGET_INPUT,
    topics.POLICY_STATE,
    topics.INSTRUCTION,
    topics.SIM_EPISODE,
)
# Of the nodes that run here: another publisher of commands would keep the supervisor from its work.
OUTPUTS = (
    topics.JOINT_COMMANDS,
    topics.SIGNALS,
    topics.FAILURE_PREDICTION,
    topics.SUPERVISOR_STATE,
    topics.INTERVENTIONS,
)

ARGUMENTS = (
    DeclareLaunchArgument(
        "bag",
        default_value="",
        description="The bag to be played, a folder or a file; it has no default.",
    ),
    DeclareLaunchArgument(
        "config", default_value="sim_panda", description="Parameter file, by path or name."
    ),
    DeclareLaunchArgument(
        "delay",
        default_value="2.0",
        description="Seconds between the player and the bag's begin: the nodes have to find it.",
    ),
    DeclareLaunchArgument(
        "patience",
        default_value="30.0",
        description="Seconds in which the bag has to show an arm at rest, to be taken over.",
    ),
)


def bag_path(text):
    """Raises RuntimeError, one line, for what is no bag."""
    path = Path(text)
    if not text or not path.exists():
        raise RuntimeError(f"bag:={text or '(nothing)'}: no such bag: give a folder or a file")
    return str(path)


def supervisor_parameters():
    """What differs from a rig's: nobody operates, no robot follows."""
    return {
        # No recording holds what is alive.
        "require_manager": False,
        "require_prediction": False,
        "require_robot": False,
        "require_enable": False,
        "limits_from_urdf": False,
        # The arm of the bag follows the recorded commands, a little before or after these.
        "tracking_error": 1.0,
        # Never to the topic of a robot's controller.
        "output": "joint_state",
        "realtime_priority": 0,
        # A robot's journal holds what happened to the robot.
        "journal_folder": str(Path(launch_config.log_dir) / "journal"),
    }


def player(bag, delay):
    """`ros2 bag play`; with the bag everything ends."""
    remaps = [f"{topic}:=/recorded{topic}" for topic in OUTPUTS]
    play = ["ros2", "bag", "play", bag, "--clock", "100", "--delay", delay]
    return ExecuteProcess(
        cmd=[
            *play,
            "--disable-keyboard-controls",
            "--topics",
            *INPUTS,
            *OUTPUTS,
            "--remap",
            *remaps,
        ],
        output="screen",
        on_exit=[Shutdown(reason="the player has ended")],
    )


def replay(context):
    value = values(context)
    # Checked before anything is started, so that nothing is left running.
    bag, config = bag_path(value("bag")), parameter_file(value("config"))
    delay, patience = str(float(value("delay"))), float(value("patience"))
    overrides = {
        "/**": {"use_sim_time": True},
        "safety_supervisor": supervisor_parameters(),
        "lifecycle_manager": {"managed_nodes": list(NODES), "activation_patience": patience},
    }
    names = (*NODES, "lifecycle_manager")
    nodes = graph_nodes(config, overrides, names=names, autostart=True, restart=False)
    (supervisor,) = (node for node in nodes if node.node_executable == "safety_supervisor")
    begin = OnStateTransition(
        target_lifecycle_node=supervisor,
        start_state="configuring",
        goal_state="inactive",
        entities=[player(bag, delay)],
    )
    commands = topics.JOINT_COMMANDS
    return [
        without_shared_memory(),
        RegisterEventHandler(begin),
        SetRemap(f"safety_supervisor:{commands}", f"/replay{commands}"),
        # The arm of the bag followed these.
        SetRemap(f"signal_publisher:{commands}", f"/recorded{commands}"),
        *nodes,
    ]


def generate_launch_description():
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=replay)])

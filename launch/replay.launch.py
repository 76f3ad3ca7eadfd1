"""Signals, predictor and supervisor on simulated time under a real `ros2 bag play`.

    ros2 launch salus_ros replay.launch.py bag:=rollouts/episode_00000

What the nodes say is on their usual topics; what the bag holds of these is under /recorded. The
supervisor keeps its own time between ticks, so the bag is played as fast as it was recorded. For
figures that are the same each time, and faster: `salus replay`.
Arguments: see `ros2 launch salus_ros replay.launch.py --show-args`.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, TimerAction

from launch import LaunchDescription
from salus_ros.launching import graph_nodes, parameter_file, values, without_shared_memory
from salus_ros.nodes import topics

NODES = ("signal_publisher", "failure_predictor", "safety_supervisor")
INPUTS = (
    topics.JOINT_STATES,
    topics.ACTION_CHUNK,
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
        "delay", default_value="6.0", description="Seconds until the bag begins: the nodes first."
    ),
    DeclareLaunchArgument(
        "activation",
        default_value="0.3",
        description="Seconds of the bag until the nodes are activated: the arm has to be seen.",
    ),
)


def bag_path(text):
    """Raises RuntimeError, one line, for what is no bag."""
    path = Path(text)
    if not text or not path.exists():
        raise RuntimeError(f"bag:={text or '(nothing)'}: no such bag: give a folder or a file")
    return str(path)


def replay(context):
    value = values(context)
    # Checked before anything is started, so that nothing is left running.
    bag, config = bag_path(value("bag")), parameter_file(value("config"))
    delay, activation = float(value("delay")), float(value("activation"))
    overrides = {
        "/**": {"use_sim_time": True},
        # Nobody operates, and no recording holds what is alive.
        "safety_supervisor": {
            "require_manager": False,
            "require_prediction": False,
            "realtime_priority": 0,
        },
        "lifecycle_manager": {"managed_nodes": list(NODES)},
    }
    names = (*NODES, "lifecycle_manager")
    nodes = graph_nodes(config, overrides, names=names, autostart=False, restart=False)
    remaps = [f"{topic}:=/recorded{topic}" for topic in OUTPUTS]
    play = ["ros2", "bag", "play", bag, "--clock", "100", "--topics", *INPUTS, *OUTPUTS]
    run = ["ros2", "service", "call", topics.RUN, "std_srvs/srv/SetBool", "{data: true}"]
    return [
        without_shared_memory(),
        *nodes,
        TimerAction(
            period=delay,
            actions=[ExecuteProcess(cmd=[*play, "--remap", *remaps], output="screen")],
        ),
        TimerAction(period=delay + activation, actions=[ExecuteProcess(cmd=run, output="screen")]),
    ]


def generate_launch_description():
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=replay)])

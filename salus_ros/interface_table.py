"""Every topic, service and action of the graph: who publishes, who listens, in which quality.

One table, from which docs/interfaces.md and the SROS 2 policies in config/sros2 are generated; a
test compares it with the running nodes. Qualities are the names in `nodes/qos.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from salus_ros.nodes import topics

POLICY = "vla_policy"
SIGNALS = "signal_publisher"
PREDICTOR = "failure_predictor"
SUPERVISOR = "safety_supervisor"
MANAGER = "lifecycle_manager"
RIG = "sim_rig"
BRIDGE = "franka_bridge"
LIFECYCLE_NODES = (SUPERVISOR, PREDICTOR, SIGNALS, POLICY)
NODES = (*LIFECYCLE_NODES, MANAGER, RIG, BRIDGE)
ROBOT_NAMESPACE = "/fr3"
ANY_CAMERA = topics.CAMERA.format(camera="*")

SENSOR_MESSAGES = "sensor_msgs/msg/JointState"


@dataclass(frozen=True)
class Topic:
    """A topic.

    publishers, subscribers: quality by node. sources, sinks: who else, in words for people.
    notes: under which parameter a node has it.
    """

    name: str
    type: str
    publishers: Mapping[str, str] = field(default_factory=dict)
    subscribers: Mapping[str, str] = field(default_factory=dict)
    sources: str = ""
    sinks: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Service:
    """A service of one node."""

    name: str
    type: str
    server: str
    does: str


TOPICS = (
    Topic(
        topics.JOINT_STATES,
        SENSOR_MESSAGES,
        {RIG: "SENSOR", BRIDGE: "SENSOR"},
        {POLICY: "SENSOR", SIGNALS: "SENSOR", SUPERVISOR: "SENSOR"},
        sources="the robot's driver",
    ),
    Topic(
        topics.CAMERA.format(camera="<name>"),
        "sensor_msgs/msg/Image",
        {RIG: "SENSOR"},
        {POLICY: "SENSOR"},
        sources="cameras (rgb8, bgr8, rgba8 or bgra8)",
        notes={POLICY: "or `camera_topics`"},
    ),
    Topic(
        topics.INSTRUCTION,
        "std_msgs/msg/String",
        {RIG: "STATE"},
        {POLICY: "STATE and PLAN", SUPERVISOR: "PLAN"},
        sources="an operator",
    ),
    Topic(
        topics.ACTION_CHUNK,
        "salus_msgs/msg/ActionChunk",
        {POLICY: "PLAN"},
        {SUPERVISOR: "PLAN", SIGNALS: "PLAN"},
    ),
    Topic(
        topics.TRAJECTORY_INPUT,
        "trajectory_msgs/msg/JointTrajectory",
        {},
        {SUPERVISOR: "PLAN"},
        sources="a policy of someone else's",
        notes={SUPERVISOR: "`input: joint_trajectory`"},
    ),
    Topic(
        topics.TARGET_INPUT,
        SENSOR_MESSAGES,
        {},
        {SUPERVISOR: "SENSOR"},
        sources="a policy of someone else's",
        notes={SUPERVISOR: "`input: joint_state`"},
    ),
    Topic(
        topics.ROBOT_DESCRIPTION,
        "std_msgs/msg/String",
        {},
        {SUPERVISOR: "STATE"},
        sources="`robot_state_publisher`",
        notes={SUPERVISOR: "`limits_from_urdf`, while it is configured"},
    ),
    Topic(
        topics.ROBOT_MODE,
        "salus_msgs/msg/RobotMode",
        {BRIDGE: "STATE"},
        {SUPERVISOR: "STATE"},
        notes={SUPERVISOR: "`require_robot`", BRIDGE: "`watch_robot`"},
    ),
    Topic(topics.POLICY_STATE, "salus_msgs/msg/PolicyState", {POLICY: "PLAN"}, {SIGNALS: "PLAN"}),
    Topic(topics.SIGNALS, "salus_msgs/msg/Signals", {SIGNALS: "SIGNALS"}, {PREDICTOR: "SIGNALS"}),
    Topic(
        topics.FAILURE_PREDICTION,
        "salus_msgs/msg/FailurePrediction",
        {PREDICTOR: "SIGNALS"},
        {SUPERVISOR: "SIGNALS"},
    ),
    Topic(
        topics.JOINT_COMMANDS,
        SENSOR_MESSAGES,
        {SUPERVISOR: "COMMAND"},
        {SIGNALS: "PLAN", RIG: "PLAN", BRIDGE: "PLAN"},
        sinks="the robot's driver",
        notes={BRIDGE: "`gripper_actions`"},
    ),
    Topic(
        topics.TRAJECTORY_COMMANDS,
        "trajectory_msgs/msg/JointTrajectory",
        {SUPERVISOR: "COMMAND"},
        sinks="the robot's controller",
        notes={SUPERVISOR: "`output: joint_trajectory`; or `command_topic`"},
    ),
    Topic(
        topics.POSITION_COMMANDS,
        "std_msgs/msg/Float64MultiArray",
        {SUPERVISOR: "COMMAND"},
        sinks="the robot's controller",
        notes={SUPERVISOR: "`output: float64_multi_array`; or `command_topic`"},
    ),
    Topic(
        topics.SUPERVISOR_STATE,
        "salus_msgs/msg/SupervisorState",
        {SUPERVISOR: "STATE"},
        sinks="tools",
    ),
    Topic(
        topics.INTERVENTIONS,
        "salus_msgs/msg/Intervention",
        {SUPERVISOR: "EVENTS"},
        {SIGNALS: "SIGNALS"},
        sinks="tools",
    ),
    Topic(
        topics.GATE_TRACE,
        "salus_msgs/msg/GateTrace",
        {SUPERVISOR: "TRACE"},
        sinks="recordings, for `salus replay`",
    ),
    Topic(
        topics.HEARTBEAT,
        "std_msgs/msg/Header",
        dict.fromkeys(NODES, "HEARTBEAT"),
        {MANAGER: "HEARTBEAT", SUPERVISOR: "HEARTBEAT"},
        sinks="tools (`frame_id`: the node)",
    ),
    Topic(
        topics.ENABLE,
        "std_msgs/msg/Bool",
        {},
        {SUPERVISOR: "HEARTBEAT"},
        sources="a hand-held switch",
    ),
    Topic(topics.ESTOP, "std_msgs/msg/Bool", {}, {SUPERVISOR: "PLAN"}, sources="an operator"),
    Topic(
        topics.DIAGNOSTICS,
        "diagnostic_msgs/msg/DiagnosticArray",
        dict.fromkeys((MANAGER, SUPERVISOR, POLICY, SIGNALS, PREDICTOR), "DIAGNOSTICS"),
        sinks="tools",
    ),
    Topic(
        topics.EPISODE_LABEL,
        "salus_msgs/msg/Episode",
        sources="`salus record label`",
        sinks="recordings",
    ),
    Topic(
        topics.SIM_EPISODE,
        "salus_msgs/msg/Episode",
        {RIG: "EVENTS"},
        {SUPERVISOR: "SIGNALS"},
        sinks="tools",
    ),
    Topic(
        topics.SIM_BLOCKS,
        "visualization_msgs/msg/MarkerArray",
        {RIG: "SENSOR"},
        {POLICY: "SENSOR"},
        sinks="RViz",
        notes={POLICY: "the privileged expert alone"},
    ),
    Topic(
        topics.CLOCK,
        "rosgraph_msgs/msg/Clock",
        {RIG: "SENSOR"},
        notes={RIG: "`publish_clock`: its messages"},
    ),
    Topic(
        f"{ROBOT_NAMESPACE}/franka/joint_states",
        SENSOR_MESSAGES,
        {},
        {BRIDGE: "SENSOR"},
        sources="franka_ros2, in `robot_namespace`",
    ),
    Topic(
        f"{ROBOT_NAMESPACE}/franka_gripper/joint_states",
        SENSOR_MESSAGES,
        {},
        {BRIDGE: "SENSOR"},
        sources="franka_ros2, in `robot_namespace`",
    ),
    Topic(
        f"{ROBOT_NAMESPACE}/franka_robot_state_broadcaster/robot_state",
        "franka_msgs/msg/FrankaRobotState",
        {},
        {BRIDGE: "SENSOR"},
        sources="franka_ros2, in `robot_namespace`",
        notes={BRIDGE: "`watch_robot`"},
    ),
)

TRIGGER, SET_BOOL = "std_srvs/srv/Trigger", "std_srvs/srv/SetBool"
SERVICES = (
    Service(
        topics.RUN,
        SET_BOOL,
        MANAGER,
        "the manager configures and activates all nodes in order, or deactivates them",
    ),
    Service(topics.HOLD, SET_BOOL, SUPERVISOR, "HOLD, or take it back"),
    Service(topics.STOP, TRIGGER, SUPERVISOR, "stop, latched"),
    Service(topics.ESTOP, TRIGGER, SUPERVISOR, "emergency stop, latched"),
    Service(
        topics.RESET, TRIGGER, SUPERVISOR, "leave STOP or ESTOP; refused while the cause lasts"
    ),
    Service(
        topics.NEW_EPISODE,
        TRIGGER,
        SUPERVISOR,
        "an episode begins: retries are counted anew, what a prediction restricts ends",
    ),
    Service(
        topics.SIM_RESET,
        TRIGGER,
        RIG,
        "next episode, from the rig's parameters `seed`, `instruction`, `disturbance`, "
        "`disturbance_onset`, `disturbance_magnitude`",
    ),
    Service(topics.SIM_DISTURB, SET_BOOL, RIG, "begin the configured disturbance now, or end it"),
)

# Actions that a node calls.
ACTIONS: Mapping[str, tuple[str, ...]] = {
    BRIDGE: tuple(f"{ROBOT_NAMESPACE}/franka_gripper/{name}" for name in ("grasp", "move")),
}

# Of every lifecycle node; the manager calls the first two.
LIFECYCLE_SERVICES = (
    "change_state",
    "get_state",
    "get_available_states",
    "get_available_transitions",
    "get_transition_graph",
)

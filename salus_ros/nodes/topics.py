"""Names of all topics and services, in one place."""

JOINT_STATES = "/joint_states"
JOINT_COMMANDS = "/joint_commands"
# Of the robot's controller, where it takes other messages than JointState.
TRAJECTORY_COMMANDS = "/joint_trajectory_controller/joint_trajectory"
POSITION_COMMANDS = "/forward_position_controller/commands"
# Whether the robot itself follows commands.
ROBOT_MODE = "/salus/robot_mode"
ROBOT_DESCRIPTION = "/robot_description"
INSTRUCTION = "/instruction"
CAMERA = "/camera/{camera}/image_raw"

ACTION_CHUNK = "/salus/action_chunk"
# Plans of a policy of someone else's.
TRAJECTORY_INPUT = "/salus/joint_trajectory"
TARGET_INPUT = "/salus/joint_targets"
POLICY_STATE = "/salus/policy_state"
SIGNALS = "/salus/signals"
FAILURE_PREDICTION = "/salus/failure_prediction"
SUPERVISOR_STATE = "/salus/supervisor_state"
INTERVENTIONS = "/salus/interventions"
GATE_TRACE = "/salus/gate_trace"
HEARTBEAT = "/salus/heartbeat"
DIAGNOSTICS = "/diagnostics"

HOLD = "/salus/hold"
STOP = "/salus/stop"
ESTOP = "/salus/estop"
RESET = "/salus/reset"
NEW_EPISODE = "/salus/new_episode"
ENABLE = "/salus/enable"
RUN = "/salus/run"

# Outcomes that a person tells of, where no rig does.
EPISODE_LABEL = "/salus/episode_label"
SIM_EPISODE = "/sim/episode"
SIM_BLOCKS = "/sim/blocks"
SIM_RESET = "/sim/reset"
SIM_DISTURB = "/sim/disturb"
CLOCK = "/clock"

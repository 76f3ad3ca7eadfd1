#!/usr/bin/env bash
# Sources ROS, the messages and the virtual environment, then runs the command.
set -eo pipefail
source /opt/ros/jazzy/setup.bash
source /workspace/src/salus_ros/.venv/workspace/install/setup.bash
export PATH=/workspace/src/salus_ros/.venv/bin:$PATH
exec "$@"

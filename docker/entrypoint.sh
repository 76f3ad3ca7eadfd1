#!/usr/bin/env bash
# Sources ROS, the robot's messages where they are mounted, and SALUS ROS, then runs the command.
set -eo pipefail
source /opt/ros/jazzy/setup.bash
if [ -f /franka/install/local_setup.bash ]; then source /franka/install/local_setup.bash; fi
source /workspace/install/local_setup.bash
# The nodes run under the system's Python, which ROS is for; what pip installed is in the environment.
venv=/workspace/src/salus_ros/.venv
export PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$(echo "$venv"/lib/python3*/site-packages)
export PATH=$venv/bin:$PATH
exec "$@"

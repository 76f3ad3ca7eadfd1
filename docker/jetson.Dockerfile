# SALUS ROS on a Jetson, over NVIDIA's own PyTorch (Ubuntu 24.04, Python 3.12) and ROS 2 Jazzy by apt.
#
# JetPack 6 (Orin; L4T 36), whose GPU needs NVIDIA's iGPU build:
#   docker build -f docker/jetson.Dockerfile -t salus_ros:jetpack6 .
# JetPack 7 (Thor, and Orin from 7.2 on; L4T 38), which runs the images for ARM servers:
#   docker build -f docker/jetson.Dockerfile -t salus_ros:jetpack7 \
#     --build-arg BASE=nvcr.io/nvidia/pytorch:25.12-py3 .
#
#   docker run --rm -it --runtime nvidia salus_ros:jetpack6 salus doctor
ARG BASE=nvcr.io/nvidia/pytorch:26.02-py3-igpu
FROM ${BASE}

ARG ROS_APT_SOURCE=1.1.0

ENV DEBIAN_FRONTEND=noninteractive \
    LANG=C.UTF-8 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=all

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl \
    && curl -fsSL -o /tmp/ros2.deb "https://github.com/ros-infrastructure/ros-apt-source/releases/download/${ROS_APT_SOURCE}/ros2-apt-source_${ROS_APT_SOURCE}.noble_all.deb" \
    && apt-get install -y --no-install-recommends /tmp/ros2.deb \
    && apt-get update && apt-get install -y --no-install-recommends \
      build-essential git libegl1 libgl1-mesa-dri make rustup \
      python3-dev python3-pip python3-venv python3-colcon-common-extensions \
      ros-jazzy-ros-base ros-jazzy-diagnostic-msgs ros-jazzy-geometry-msgs ros-jazzy-launch-ros \
      ros-jazzy-lifecycle-msgs ros-jazzy-sensor-msgs ros-jazzy-std-srvs \
      ros-jazzy-trajectory-msgs ros-jazzy-visualization-msgs \
    && rm -rf /var/lib/apt/lists/* /tmp/ros2.deb \
    && rustup default 1.95.0

WORKDIR /workspace/src/salus_ros
# What changes rarely first, so that an edit of the code does not install everything anew.
COPY Makefile setup.py setup.cfg pyproject.toml constraints.txt package.xml LICENSE README.md ./
COPY msg msg
COPY config config
COPY launch launch
COPY sedac_core sedac_core
COPY salus_ros salus_ros

# PyTorch and NumPy are the base's: those from PyPI know no Jetson. So nothing may install another.
# colcon builds with the system's Python: there mypyc compiles what the nodes run at each tick.
RUN source /opt/ros/jazzy/setup.bash \
    && python3 -m venv --system-site-packages .venv && echo sourced > .venv/.venv \
    && grep -v -i -E '^(torch|torchvision|torchao|triton|numpy|nvidia-.*)([=<>; ]|$)' constraints.txt \
      > /tmp/constraints.txt \
    && .venv/bin/pip install --no-cache-dir -c /tmp/constraints.txt -e . \
    && .venv/bin/pip install --no-cache-dir -c /tmp/constraints.txt ./sedac_core \
    && python3 -m pip install --no-cache-dir --break-system-packages -c /tmp/constraints.txt mypy \
    && SALUS_COMPILE=1 colcon build --base-paths . msg --build-base /workspace/build \
      --install-base /workspace/install \
    && .venv/bin/python -c 'import numpy, torch; assert torch.version.cuda, "a torch without CUDA"'

# A real-time robot process should not be PID 1: signals and zombies need an init (compose: init).
COPY docker/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["salus", "doctor"]

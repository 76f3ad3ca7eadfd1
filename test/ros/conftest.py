"""Tests of the real graph, each on a ROS domain of its own."""

from importlib.util import find_spec

import pytest

MISSING = [name for name in ("rclpy", "salus_msgs", "mujoco") if find_spec(name) is None]


def pytest_collection_modifyitems(items):
    reason = f"{', '.join(MISSING)} is missing: run `make build`"
    for item in items:
        if MISSING and "test/ros" in str(item.path):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _own_domain_for_all(own_domain):
    """Every test here gets one."""

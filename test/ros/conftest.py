"""The real graph, started by the tests on a ROS domain of its own."""

import os
from importlib.util import find_spec

import pytest

MISSING = [name for name in ("rclpy", "salus_msgs", "mujoco") if find_spec(name) is None]


def pytest_collection_modifyitems(items):
    reason = f"{', '.join(MISSING)} is missing: run `make build`"
    for item in items:
        if MISSING and "test/ros" in str(item.path):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def own_domain(monkeypatch, tmp_path):
    """A domain that nobody uses, this machine only, logs in the test's folder."""
    from salus_ros.cli.graph import use_free_domain

    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "ros_log"))
    domain = use_free_domain()
    yield domain
    os.environ.pop("ROS_DOMAIN_ID", None)

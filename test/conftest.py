"""Hypothesis profiles, and a ROS domain of its own for each test that wants one."""

import os

import pytest
from hypothesis import HealthCheck, settings

# Before torch is imported: its threads spin, and on a loaded machine mostly against each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before mujoco is imported by whichever test comes first.
os.environ.setdefault("MUJOCO_GL", "egl")

settings.register_profile(
    "fast",
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture
def own_domain(monkeypatch, tmp_path):
    """A domain that nobody uses, this machine only, logs in the test's folder."""
    from salus_ros.cli.graph import use_free_domain
    from salus_ros.cli.processes import stay_on_this_machine

    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    # Set first, so that it is put back afterwards.
    for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    stay_on_this_machine()
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "ros_log"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    domain = use_free_domain()
    yield domain
    os.environ.pop("ROS_DOMAIN_ID", None)

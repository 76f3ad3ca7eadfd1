"""kill -9 of each node while the arm moves: what the arm and the others then do."""

import numpy as np
import pytest
from recorded_limits import check_inside_limits
from running_graph import RunningGraph

HOLD, STOP = 4, 5
HELPERS = ("signal_publisher", "failure_predictor")


def came_to_rest(graph):
    return graph.states[-1].at_rest and not graph.moving()


def arm_stands(graph):
    return np.abs(graph.joint_states[-1]).max() < 0.01


def test_policy_killed(tmp_path):
    """The arm follows its plan, then holds; all but the supervisor is deactivated."""
    with RunningGraph(tmp_path) as graph:
        graph.begin_episode()
        graph.kill("vla_policy")
        graph.wait(lambda: graph.mode() == HOLD, "HOLD")
        graph.wait(lambda: set(graph.reasons()) & {"plan_ran_out", "plan_stale"}, "its cause")
        graph.wait(lambda: came_to_rest(graph), "rest")
        graph.wait(lambda: "vla_policy" in graph.lost, "the manager's report")
        for helper in HELPERS:
            graph.wait(lambda h=helper: graph.lifecycle_state(h) == "inactive", helper)
        assert graph.lifecycle_state("safety_supervisor") == "active"
        sent = len(graph.commands)
        graph.wait(lambda: len(graph.commands) > sent + 20, "the supervisor to go on holding")
        check_inside_limits(graph.commands)


@pytest.mark.parametrize("helper", HELPERS)
def test_signals_or_predictor_killed(tmp_path, helper):
    """The arm goes on and does its task; the manager reports."""
    with RunningGraph(tmp_path) as graph:
        graph.begin_episode()
        graph.kill(helper)
        graph.wait(lambda: helper in graph.lost, "the manager's report")
        graph.wait(lambda: graph.client.episode_ended(1, 0.0), "the end of the episode")
        assert graph.client.episode.success
        assert graph.lifecycle_state("vla_policy") == "active"
        assert graph.lifecycle_state("safety_supervisor") == "active"
        check_inside_limits(graph.commands)


def test_killed_predictor_is_restored_where_configured(tmp_path):
    with RunningGraph(tmp_path, lifecycle_manager={"restore_lost_nodes": True}) as graph:
        graph.begin_episode()
        graph.kill("failure_predictor")
        graph.wait(lambda: "failure_predictor" in graph.lost, "the manager's report")
        graph.group.restart("failure_predictor")
        graph.wait(lambda: "failure_predictor" not in graph.lost, "its return")
        graph.wait(lambda: graph.lifecycle_state("failure_predictor") == "active", "its activation")


def test_manager_killed(tmp_path):
    """The arm goes on, for the demo does not require the manager."""
    with RunningGraph(tmp_path) as graph:
        graph.begin_episode()
        graph.kill("lifecycle_manager")
        graph.wait(lambda: graph.client.episode_ended(1, 0.0), "the end of the episode")
        assert graph.client.episode.success
        assert graph.alive() == set(graph.group.processes) - {"lifecycle_manager"}
        check_inside_limits(graph.commands)


def test_required_manager_killed(tmp_path):
    """Where the manager is required, its loss is a HOLD."""
    demanding = {"require_manager": True, "manager_age": 0.5}
    with RunningGraph(tmp_path, safety_supervisor=demanding) as graph:
        graph.begin_episode()
        graph.kill("lifecycle_manager")
        graph.wait(lambda: "heartbeat_lost" in graph.reasons(), "heartbeat_lost")
        assert graph.mode() == HOLD
        graph.wait(lambda: came_to_rest(graph), "rest")
        check_inside_limits(graph.commands)


def test_missing_required_prediction_holds(tmp_path):
    """Without a checkpoint there is no valid prediction: the arm never starts."""
    with RunningGraph(tmp_path, safety_supervisor={"require_prediction": True}) as graph:
        graph.client.reset_rig(instruction="pick up the red block", seed=1, disturbance="")
        graph.client.run(True)
        graph.wait(lambda: "heartbeat_lost" in graph.reasons(), "heartbeat_lost")
        graph.wait(lambda: graph.states[-1].chunks_accepted > 10, "chunks")
        assert graph.mode() == HOLD
        assert not graph.moving()


def test_supervisor_killed(tmp_path):
    """The robot's side stops the arm; the manager deactivates the rest."""
    with RunningGraph(tmp_path) as graph:
        graph.begin_episode()
        graph.kill("safety_supervisor")
        graph.wait(lambda: arm_stands(graph), "the arm to stand")
        graph.wait(lambda: "safety_supervisor" in graph.lost, "the manager's report")
        for node in (*HELPERS, "vla_policy"):
            graph.wait(lambda n=node: graph.lifecycle_state(n) == "inactive", node)
        check_inside_limits(graph.commands)


def test_rig_killed(tmp_path):
    """Joint states go stale: HOLD, then STOP; the rest stays up."""
    with RunningGraph(tmp_path) as graph:
        graph.begin_episode()
        graph.kill("sim_rig")
        graph.wait(lambda: graph.mode() == STOP, "STOP")
        modes = [(i.mode_after, i.reason) for i in graph.interventions]
        assert (HOLD, "joint_state_stale") in modes
        assert (STOP, "joint_state_lost") in modes
        graph.wait(lambda: graph.states[-1].at_rest, "rest")
        assert graph.alive() == set(graph.group.processes) - {"sim_rig"}
        check_inside_limits(graph.commands)

"""The running graph's journal: what was published is in it, and it is whole after kill -9."""

from running_graph import RunningGraph

from salus_ros.cli.processes import SUPERVISOR
from salus_ros.supervision.journal.reading import Entries
from salus_ros.supervision.journal.verification import verify

HOLD, ESTOP = 4, 6
CLOSINGS = {"journal_closed", "journal_orphaned"}


def numbers(folder):
    return {entry["intervention"] for entry in Entries(folder) if "intervention" in entry}


def ended(folder):
    return list(Entries(folder))[-1]["reason"] in CLOSINGS


def reasons(folder):
    return [entry["reason"] for entry in Entries(folder)]


def test_interventions_are_journalled_and_survive_the_supervisors_death(tmp_path):
    from std_srvs.srv import Trigger

    from salus_ros.nodes import topics

    folder = tmp_path / "journal"
    parameters = {"journal_folder": str(folder), "journal_max_bytes": 65536}
    with RunningGraph(tmp_path, safety_supervisor=parameters) as graph:
        graph.begin_episode()
        assert graph.client._answer(Trigger, topics.ESTOP, Trigger.Request(), 5.0).success
        graph.wait(lambda: graph.mode() == ESTOP, "ESTOP")
        published = {act.sequence for act in graph.interventions}
        graph.wait(lambda: published <= numbers(folder), "the journal to have what was published")
        newest = verify(folder).head
        graph.wait(lambda: graph.states[-1].journal_sequence >= newest.sequence, "the head")
        head = graph.states[-1].journal_hash
        graph.kill(SUPERVISOR)
        graph.wait(lambda: ended(folder), "the writer to end by itself")
    result = verify(folder, head)
    assert result.intact, result.problems
    entries = list(Entries(folder))
    assert [e["mode_after"] for e in entries if e["reason"] == "estop_requested"] == ["ESTOP"]
    assert "activated" in reasons(folder)
    assert sum(entry["left_out"] for entry in entries) == 0


def test_a_supervisor_goes_on_with_its_journal_and_closes_it_in_order(tmp_path):
    """By default it lies in the user's state folder, one for each domain and node."""
    with RunningGraph(tmp_path) as graph:
        graph.begin_episode()
        (folder,) = (tmp_path / "state" / "salus" / "journal").glob("domain-*/safety_supervisor")
        graph.kill(SUPERVISOR)
        graph.wait(lambda: SUPERVISOR in graph.lost, "the manager's report")
        graph.group.restart(SUPERVISOR)
        graph.wait(lambda: SUPERVISOR not in graph.lost, "its return")
        graph.client.run(True)
        graph.wait(lambda: reasons(folder).count("activated") == 2, "its activation")
    assert verify(folder).intact
    assert reasons(folder).count("journal_opened") == 2
    assert reasons(folder).count("journal_orphaned") == 1
    assert reasons(folder)[-2:] == ["deactivated", "journal_closed"]


def test_a_journal_that_cant_be_written_is_an_error_at_configure(tmp_path):
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    with RunningGraph(tmp_path, safety_supervisor={"journal_folder": "/proc/salus"}) as graph:
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
        name = f"/{SUPERVISOR}/change_state"
        assert not graph.client._answer(ChangeState, name, request, 20.0).success
        error = graph.group.last_error(SUPERVISOR)
        assert "can't configure: journal /proc/salus: No such file or directory: give a" in error
        assert graph.lifecycle_state(SUPERVISOR) == "unconfigured"

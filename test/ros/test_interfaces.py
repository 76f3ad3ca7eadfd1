"""The table of interfaces, and the pages made from it, against the running nodes."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS: run `make build`")

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import DescribeParameters, ListParameters
from running_graph import RunningGraph
from supervised_arm import SupervisedArm
from test_franka_rig import FrankaRig

from salus_ros.cli.graph import parameter_file
from salus_ros.cli.processes import NodeProcess, ProcessGroup
from salus_ros.interface_table import (
    BRIDGE,
    NODES,
    ROBOT_NAMESPACE,
    SERVICES,
    SUPERVISOR,
    TOPICS,
)
from salus_ros.nodes import topics

DOCS = Path(__file__).resolve().parents[2] / "docs"
# Of rclpy itself.
BUILT_IN_TOPICS = {"/rosout", "/parameter_events"}
BUILT_IN_PARAMETERS = {"use_sim_time", "start_type_description_service"}
# Listened to only while the node is configured: see test_supervisor_interfaces.
MOMENTARY = {(SUPERVISOR, topics.ROBOT_DESCRIPTION, "subscribes")}
NAMES = {topic.name for topic in TOPICS}
ENDPOINTS, SERVED = set(), set()


@pytest.fixture(scope="module")
def tables():
    spec = spec_from_file_location("interface_tables", DOCS / "interface_tables.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_files_are_up_to_date(tables):
    for path, text in tables.generated().items():
        assert path.read_text() == text, "run: python docs/interface_tables.py"


def quality(profile):
    """What discovery tells of a quality."""
    span = [d.nanoseconds for d in (profile.deadline, profile.lifespan)]
    spans = [ns if 0 < ns < 2**62 else None for ns in span]
    return (int(profile.reliability), int(profile.durability), *spans)


def table_name(topic):
    """A running topic's name in the table."""
    name = re.sub(r"^/camera/\w+/", "/camera/<name>/", topic)
    bare = name.removeprefix(ROBOT_NAMESPACE)
    return bare if bare in NAMES else name


def observe(node):
    """Note all endpoints and services of our nodes."""
    for topic, _ in node.get_topic_names_and_types():
        for verb, infos in (
            ("publishes", node.get_publishers_info_by_topic(topic)),
            ("subscribes", node.get_subscriptions_info_by_topic(topic)),
        ):
            for info in infos:
                own = info.node_name in NODES and topic not in BUILT_IN_TOPICS
                if own and not topic.endswith("/transition_event") and "/_action/" not in topic:
                    name, found = table_name(topic), quality(info.qos_profile)
                    ENDPOINTS.add((info.node_name, name, verb, info.topic_type, found))
    for name in {n for n, _ in node.get_node_names_and_namespaces()} & set(NODES):
        for service, types in node.get_service_names_and_types_by_node(name, "/"):
            if not service.startswith(f"/{name}/"):
                SERVED.add((name, service, types[0]))


def expected(tables):
    """All endpoints that the table has."""
    return {
        (node, topic.name, verb, topic.type, quality(tables.profile(name)))
        for topic in TOPICS
        for verb, ends in (("publishes", topic.publishers), ("subscribes", topic.subscribers))
        for node, names in ends.items()
        for name in names.split(" and ")
        if (node, topic.name, verb) not in MOMENTARY
    }


def always(tables, nodes):
    """Those endpoints that nodes have whatever their parameters are."""
    notes = {(node, topic.name) for topic in TOPICS for node in topic.notes}
    return {e for e in expected(tables) if e[0] in nodes and (e[0], e[1]) not in notes}


def documented():
    """Names and descriptions by node, as the two pages have them."""
    found = {}
    for part in (DOCS / "parameters.md").read_text().split("\n## ")[1:]:
        found[part.split("\n", 1)[0]] = rows(part)
    page = (DOCS / "supervisor.md").read_text()
    found[SUPERVISOR] = rows(page[page.index("parameters:begin") : page.index("parameters:end")])
    return found


def rows(text):
    table = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip("| `"): cells[-1].removesuffix(" |") for cells in table}


def ask(graph, kind, name, request):
    return graph.client._answer(kind, name, request, 10.0)


def check_parameters(graph, node, page):
    listed = ask(graph, ListParameters, f"/{node}/list_parameters", ListParameters.Request())
    names = [
        name
        for name in listed.result.names
        if name not in BUILT_IN_PARAMETERS and not name.startswith("qos_overrides.")
    ]
    assert set(names) == set(page), node
    request = DescribeParameters.Request(names=names)
    described = ask(graph, DescribeParameters, f"/{node}/describe_parameters", request)
    for found in described.descriptors:
        plain = found.description.replace("|", "\\|").replace("<", "&lt;")
        assert plain == page[found.name], f"{node}: {found.name}"
        if found.type in (2, 3):
            assert found.integer_range or found.floating_point_range, f"{node}: {found.name}"


@pytest.mark.timeout(240)
def test_parameters_of_the_running_nodes_are_those_documented(tables, tmp_path):
    pages = documented()
    assert set(pages) == set(NODES)
    graph_nodes = set(NODES) - {BRIDGE}
    with RunningGraph(tmp_path, vla_policy={"policy": "flow"}, sim_rig={}) as graph:
        # The policy with cameras is the learned one, which takes a busy machine a while to load.
        graph.client.run(True, 100.0)
        graph.wait(
            lambda: observe(graph.client.node) or always(tables, graph_nodes) <= ENDPOINTS,
            "discovery of all that the table has",
        )
        for node in graph_nodes:
            check_parameters(graph, node, pages[node])


def test_the_expert_and_the_other_forms_of_the_supervisor(tmp_path):
    """What the graph as it is shipped doesn't use."""
    options = {"policy": "scripted_expert", "speed": 0.0}
    expert = NodeProcess("vla_policy", parameter_file("sim_panda"), options)
    forms = {"input": "joint_state", "output": "float64_multi_array", "controller_rate": 100.0}
    with ProcessGroup([expert], tmp_path), SupervisedArm(**forms) as arm:
        arm.bring_up()
        configure = ChangeState.Request(transition=Transition(id=1))
        answer = arm.call(ChangeState, "/vla_policy/change_state", configure)
        assert answer.success, (tmp_path / "vla_policy.log").read_text()
        count = arm.client.count_subscribers
        arm.wait(lambda: count(topics.SIM_BLOCKS) and count(topics.TARGET_INPUT), "discovery")
        arm.wait(lambda: arm.client.count_publishers(topics.POSITION_COMMANDS), "discovery")
        observe(arm.client)


def test_in_front_of_a_franka(tables, tmp_path):
    with FrankaRig(tmp_path) as rig:
        rig.bring_up()
        rig.wait(lambda: observe(rig.client) or always(tables, {BRIDGE}) <= ENDPOINTS, "discovery")


def test_the_table_is_what_the_nodes_had(tables):
    """After the three above."""
    if not ENDPOINTS:
        pytest.skip("runs with the rest of this file")
    assert expected(tables) == ENDPOINTS
    assert {(s.server, s.name, s.type) for s in SERVICES} == SERVED

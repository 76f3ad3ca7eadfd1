"""The captured sampler on a GPU: exact replay, no stale input, no growing memory."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from salus_ros.policy.flow.flow import ExpertStep, held_of  # noqa: E402
from salus_ros.policy.flow.network import FlowNetwork  # noqa: E402
from salus_ros.policy.flow.panda import panda_config  # noqa: E402
from salus_ros.policy.flow.sampler import EagerSampler, GraphSampler, make_sampler  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
STEPS = 10


@pytest.fixture(scope="module")
def network() -> FlowNetwork:
    torch.manual_seed(0)
    return FlowNetwork(panda_config()).cuda().eval()


def inputs(network: FlowNetwork, seed: int):
    generator = torch.Generator().manual_seed(seed)
    config = network.config
    hidden = torch.randn(1, 26, config.width, generator=generator).cuda()
    noise = torch.randn(8, config.rows, config.dims, generator=generator).cuda()
    with torch.no_grad():
        return noise, held_of(network.prefix(hidden))


def test_replay_gives_eagers_numbers_for_two_inputs_in_a_row(network):
    step = ExpertStep(network.expert, STEPS)
    graph = GraphSampler(step, STEPS, *inputs(network, 0), fuses=False)
    eager = EagerSampler(step, STEPS)
    for seed in (1, 2):
        given = inputs(network, seed)
        assert torch.equal(graph(*given), eager(*given))


def test_a_thousand_replays_take_no_memory(network):
    given = inputs(network, 1)
    graph = GraphSampler(ExpertStep(network.expert, STEPS), STEPS, *given)
    graph(*given)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(1000):
        graph(*given)
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == before


def test_other_shapes_are_refused(network):
    noise, held = inputs(network, 1)
    graph = GraphSampler(ExpertStep(network.expert, STEPS), STEPS, noise, held)
    with pytest.raises(ValueError, match="captured for"):
        graph(noise[:4], held)


def test_the_graph_mode_is_the_graph(network):
    given = inputs(network, 1)
    assert make_sampler("graph", ExpertStep(network.expert, STEPS), STEPS, *given).mode == "graph"

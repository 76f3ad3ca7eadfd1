"""Guided Euler steps against a flow whose posterior is known, finite differences and themselves."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from flow_policies import observation, saved  # noqa: E402
from test_flow_sampler import TINY, noise_of, observed, tiny_network  # noqa: E402

from salus_ros.interfaces import seconds  # noqa: E402
from salus_ros.policy.backend import Guidance, GuidedBackend  # noqa: E402
from salus_ros.policy.flow import guidance as guiding  # noqa: E402
from salus_ros.policy.flow.backend import FlowBackend  # noqa: E402
from salus_ros.policy.flow.flow import ExpertStep, held_of  # noqa: E402
from salus_ros.policy.flow.guidance import Guide, guidance_weight, integrate_guided  # noqa: E402
from salus_ros.policy.flow.sampler import EagerSampler, integrate  # noqa: E402

ROWS, STEPS = 12, 200


class LinearGaussian:
    """The exact velocity of the flow from N(0, I) to chunks N(mean, covariance) [rows, rows]."""

    def __init__(self, mean: torch.Tensor, covariance: torch.Tensor, steps: int) -> None:
        self.mean, self.covariance, self.steps = mean, covariance, steps

    def __call__(self, x: torch.Tensor, i: int, _held: tuple[torch.Tensor, ...]) -> torch.Tensor:
        t = i / self.steps
        noise = (1 - t) ** 2 * torch.eye(len(self.mean), dtype=x.dtype)
        gain = t * self.covariance @ torch.linalg.inv(t * t * self.covariance + noise)
        clean = self.mean + (x[..., 0] - t * self.mean) @ gain.T
        return (clean[..., None] - x) / (1 - t)


def smooth_chunks(steps: int = STEPS) -> LinearGaussian:
    at = torch.arange(ROWS, dtype=torch.float64)
    covariance = torch.exp(-((at[:, None] - at) ** 2) / 18.0) + 1e-2 * torch.eye(ROWS)
    return LinearGaussian(torch.zeros(ROWS, dtype=torch.float64), covariance, steps)


def column(values: torch.Tensor) -> torch.Tensor:
    return values[None, :, None]


def gaussian_noise(seed: int, batch: int = 1) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(batch, ROWS, 1, generator=draw, dtype=torch.float64)


def guide_to(value: float, frozen: int) -> Guide:
    weights = torch.zeros(ROWS, dtype=torch.float64)
    weights[:frozen] = 1.0
    return Guide(column(torch.full((ROWS,), value, dtype=torch.float64)), column(weights))


def test_the_guided_sample_hits_the_prefix_of_a_known_distribution():
    field, guide = smooth_chunks(), guide_to(1.5, 4)
    plain = integrate(field, STEPS, gaussian_noise(0), ())
    guided = integrate_guided(field, STEPS, gaussian_noise(0), (), guide)
    assert (plain[0, :4, 0] - 1.5).abs().max() > 0.5
    # Within the distribution's own noise of one row, 0.1.
    assert (guided[0, :4, 0] - 1.5).abs().max() < 0.1


def test_what_follows_the_prefix_goes_on_with_it():
    field, guide = smooth_chunks(), guide_to(1.5, 4)
    noise = gaussian_noise(0, 40)
    led = [integrate_guided(field, 50, noise[k : k + 1], (), guide) for k in range(40)]
    mean, free = torch.cat(led).mean(0)[:, 0], integrate(field, 50, noise, ()).mean(0)[:, 0]
    # The method is an approximation, and the clipped weight makes it a cautious one.
    assert mean[4] - free[4] > 0.5 and mean[4] > mean[6] > mean[11]


@pytest.mark.parametrize(
    ("time", "weight"), [(0.0, 10.0), (0.05, 10.0), (0.5, 2.0), (0.9, 82 / 9), (0.99, 10.0)]
)
def test_the_weight_is_the_papers_and_clipped(time, weight):
    assert guidance_weight(time) == pytest.approx(weight)


def test_the_gradient_through_the_network_is_that_of_finite_differences():
    network = tiny_network()
    step = ExpertStep(network.expert, 5)
    with torch.no_grad():
        held = tuple(h.double() for h in held_of(network.prefix(observed(network, 1))))
    step._modulations = [tuple(m.double() for m in layers) for layers in step._modulations]
    network.double()
    x, target = noise_of(2, 1).double(), noise_of(3, 1).double()
    weights = torch.linspace(1.0, 0.0, 8).double()[None, :, None]
    i, time = 2, 2 / 5

    def loss(x: torch.Tensor) -> torch.Tensor:
        clean = x + (1 - time) * step(x, i, held)
        return 0.5 * (weights * (target - clean) ** 2).sum()

    with torch.no_grad():
        plain = step(x, i, held)
    guided = guiding._guided_velocity(step, 5, i, x, held, Guide(target, weights))
    gradient = (guided - plain) / guidance_weight(time)
    h = 1e-6
    for place in [(0, 0, 0), (0, 3, 1), (0, 7, 2)]:
        bump = torch.zeros_like(x)
        bump[place] = h
        with torch.no_grad():
            slope = (loss(x + bump) - loss(x - bump)) / (2 * h)
        assert float(gradient[place]) == pytest.approx(-float(slope), rel=1e-5, abs=1e-9)


def test_without_weights_and_for_the_other_samples_the_numbers_are_those_of_before():
    network = tiny_network()
    sampler = EagerSampler(ExpertStep(network.expert, 5), 5)
    with torch.no_grad():
        held = held_of(network.prefix(observed(network, 1)))
    noise, nothing = noise_of(1), torch.zeros(1, 8, 1)
    plain = sampler(noise, held)
    idle = sampler(noise, held, Guide(torch.zeros(1, 8, 3), nothing))
    led = sampler(noise, held, Guide(torch.ones(1, 8, 3), nothing + 1.0))
    assert torch.allclose(idle, plain, atol=1e-6)
    assert torch.allclose(led[1:], plain[1:], atol=1e-6)
    assert (led[0] - plain[0]).abs().max() > 0.1


def test_the_policys_chunk_goes_on_from_the_plan_and_heeds_the_weights(tmp_path):
    policy = FlowBackend(checkpoint=saved(tmp_path), sampler="eager", action_samples=1)
    assert isinstance(policy, GuidedBackend)
    first = policy.predict(observation())
    later = observation(stamp=3 * first.time_step, seed=1)
    plan = first.actions[3:] + 0.004 * np.sin(np.arange(29) / 6)[:, None]
    plan[:2] = first.actions[3:5]

    def chunk(weights: np.ndarray) -> np.ndarray:
        policy.reset()
        policy.predict(observation())
        return policy.predict_guided(later, Guidance(plan, weights, int(weights.sum()))).actions

    free, led = chunk(np.zeros(29)), chunk(np.ones(29))
    assert np.abs(led[0] - plan[0]).max() < 1e-9  # It goes on from where the plan is.
    assert np.abs(led - free).max() > 1e-4


def test_a_plan_that_the_arm_is_not_on_guides_nothing(tmp_path):
    policy = FlowBackend(checkpoint=saved(tmp_path), sampler="eager", action_samples=1)
    policy.predict(observation())
    away = observation(stamp=100_000_000, positions=observation().joints.positions + 0.3)
    plan = np.zeros((20, 8))
    led = policy.predict_guided(away, Guidance(plan, np.ones(20), 20))
    assert not led.continues
    assert np.allclose(led.actions[0, :7], away.joints.positions)
    assert seconds(led.time_step) > 0 and TINY.rows == 8

"""The low-rank probe and its training; needs torch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from salus_ros.policy.probe import (  # noqa: E402
    LREProbe,
    ProbeTraining,
    action_error_target,
    clip_targets,
    entropy_target,
    train_probe,
)


@pytest.fixture
def probe() -> LREProbe:
    torch.manual_seed(0)
    return LREProbe(width=16, rank=4)


def test_risk_is_the_formula(probe):
    hidden = torch.randn(3, 5, 16)
    low = hidden @ probe.down.weight.T
    mean, variance = low.mean(-1, keepdim=True), low.var(-1, unbiased=False, keepdim=True)
    normal = (low - mean) / torch.sqrt(variance + probe.norm.eps)
    expected = torch.log1p(torch.exp(normal @ probe.up.weight.T + probe.up.bias))[..., 0]
    torch.testing.assert_close(probe(hidden), expected, atol=1e-5, rtol=1e-5)
    assert probe.down.bias is None
    assert LREProbe(128).down.weight.shape == (64, 128)


def test_the_risk_of_a_sequence_is_that_of_its_worst_token(probe):
    hidden = torch.randn(2, 7, 16)
    torch.testing.assert_close(probe.sequence_risk(hidden), probe(hidden).max(dim=-1).values)
    with pytest.raises(ValueError, match="a sequence without tokens"):
        probe.sequence_risk(hidden[:, :0])


def test_anything_that_a_model_can_overflow_to_gives_a_usable_risk(probe):
    hidden = torch.randn(4, 16)
    hidden[0, 3], hidden[1, 3], hidden[2, 3] = torch.nan, torch.inf, -torch.inf
    hidden[3] = torch.finfo(torch.float32).max
    risk = probe(hidden)
    assert torch.isfinite(risk).all()
    assert (risk >= 0).all()
    assert torch.isfinite(probe(hidden.to(torch.bfloat16))).all()


def test_its_risk_feeds_the_controller(probe):
    sedac = pytest.importorskip("sedac_core._core", reason="the Rust core is not built: make build")
    with torch.inference_mode():
        risk = torch.stack([probe(torch.randn(9, 16)) for _ in range(3)]).numpy()
    assert risk.dtype == np.float32
    assert len(sedac.CascadeController().evaluate(risk)) == 9


def test_a_trained_probe_tells_risky_states_from_safe_ones(probe):
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(600, 16, generator=generator)
    targets = (hidden[:, 0] + 1).clamp_min(0)
    epochs = []
    fit = train_probe(
        probe,
        hidden,
        targets,
        ProbeTraining(epochs=30, batch=32, learning_rate=0.01),
        on_epoch=lambda epoch, loss: epochs.append((epoch, loss)),
    )
    assert fit.loss < 0.7 * fit.loss_of_constant
    assert fit.loss < fit.loss_before
    assert [epoch for epoch, _ in epochs] == list(range(1, 31))
    assert fit.loss == min(loss for _, loss in epochs), "the best epoch is kept"
    fresh = torch.randn(400, 16, generator=generator)
    with torch.inference_mode():
        ranks = probe(fresh).argsort().argsort().float()
    truth = fresh[:, 0].argsort().argsort().float()
    assert torch.corrcoef(torch.stack([ranks, truth]))[0, 1] > 0.8


def test_sequences_are_trained_on_their_worst_token(probe):
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(600, 3, 16, generator=generator)
    targets = hidden[..., 0].amax(dim=-1).clamp_min(0)
    training = ProbeTraining(epochs=20, batch=32, learning_rate=0.01)
    fit = train_probe(probe, hidden, targets, training)
    assert fit.loss < 0.7 * fit.loss_of_constant


def test_training_is_repeatable():
    losses = []
    for _ in range(2):
        torch.manual_seed(3)
        probe, hidden = LREProbe(8, 2), torch.randn(60, 8)
        losses.append(train_probe(probe, hidden, hidden[:, 1].exp(), ProbeTraining(epochs=3)).loss)
    assert losses[0] == losses[1]


def test_targets_are_those_of_the_specification():
    logits = torch.tensor([[0.0, 0.0], [100.0, 0.0]])
    expected = torch.tensor([np.log1p(np.log(2)), 0.0], dtype=torch.float32)
    torch.testing.assert_close(entropy_target(logits), expected, atol=1e-6, rtol=0)
    full = torch.ones(2, 5, 4)
    error = action_error_target(torch.stack([full[0], 1.5 * full[1]]), full)
    torch.testing.assert_close(error, torch.tensor([0.0, np.log(1.5)], dtype=torch.float32))


def test_targets_are_clipped_at_the_first_and_last_percentile():
    clipped = clip_targets(torch.arange(101.0))
    assert (clipped.min(), clipped.max()) == (1, 99)
    assert clipped[50] == 50


def test_what_does_not_fit_is_refused(probe):
    hidden, targets = torch.randn(10, 16), torch.rand(10)
    for arguments, words in [
        ((hidden, targets[:9]), r"hidden has shape \(10, 16\) and targets \(9,\)"),
        ((hidden[:1], targets[:1]), "1 samples can't be split"),
        ((hidden, targets - 2), "they must be finite and >= 0"),
        ((hidden, targets * torch.nan), "targets hold nan"),
    ]:
        with pytest.raises(ValueError, match=words):
            train_probe(probe, *arguments)
    with pytest.raises(ValueError, match="rank is 17; it must be from 1 to the width, 16"):
        LREProbe(16, 17)
    with pytest.raises(ValueError, match="out of range"):
        ProbeTraining(held_out=1.0)

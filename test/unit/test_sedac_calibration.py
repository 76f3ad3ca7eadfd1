"""Thresholds, confidence targets and learned weights, in both implementations."""

from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:sedac_core runs on its slower numpy fallback")

RATES = np.array([0.2, 0.5, 0.8])


@pytest.fixture(params=["sedac_core._core", "sedac_core.fallback"])
def sedac(request: pytest.FixtureRequest) -> ModuleType:
    return pytest.importorskip(request.param, reason="the Rust core is not built: make build")


def sample(kind: str, tokens: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "uniform":
        risk = rng.uniform(0, 2, (3, tokens))
    elif kind == "skewed":
        risk = rng.lognormal(-1, 1.2, (3, tokens))
    else:
        risk = rng.gamma(2, 0.3, tokens) * rng.uniform(0.8, 1.2, (3, tokens))
    return risk.astype(np.float32)


def cumulative_exits(out, tokens: int) -> np.ndarray:
    return np.cumsum([(out.exit_layer == layer).sum() for layer in (7, 14, 21)]) / tokens


@pytest.mark.parametrize("scale", [None, 0.95])
@pytest.mark.parametrize("kind", ["uniform", "skewed", "correlated"])
def test_the_measured_exit_rates_are_those_asked_for(sedac, kind, scale):
    controller = sedac.CascadeController(
        calibration_steps=4000, calibration_window=4000, scale_quantile=scale
    )
    controller.update_thresholds(sample(kind, 4000, seed=1))
    assert controller.is_calibrated
    on_samples = cumulative_exits(controller.evaluate(sample(kind, 4000, seed=1)), 4000)
    np.testing.assert_allclose(on_samples, RATES, atol=1 / 4000)
    unseen = cumulative_exits(controller.evaluate(sample(kind, 100_000, seed=2)), 100_000)
    # Four standard errors of a rate that was set on 4000 samples.
    np.testing.assert_allclose(unseen, RATES, atol=4 * np.sqrt(0.25 / 4000))


def test_before_calibration_the_targets_are_the_rates(sedac):
    controller = sedac.CascadeController()
    assert controller.confidence_targets == [0.2, 0.5, 0.8]
    assert not controller.is_calibrated


def test_the_warm_up_ends_when_every_checkpoint_has_its_samples(sedac):
    controller, risk = sedac.CascadeController(), sample("skewed", 60, seed=3)
    for checkpoint in range(3):
        assert (
            controller.update_threshold(checkpoint, risk[checkpoint][:49])
            == [0.8, 1, 1.2][checkpoint]
        )
    for checkpoint in range(3):
        assert not controller.is_calibrated
        controller.update_threshold(checkpoint, risk[checkpoint][49:])
    assert controller.is_calibrated
    expected = [np.quantile(row.astype(float), q) for row, q in zip(risk, RATES, strict=True)]
    assert controller.thresholds == pytest.approx(expected, abs=1e-9)
    controller.reset_calibration()
    assert controller.thresholds == [0.8, 1.0, 1.2]
    assert controller.confidence_targets == [0.2, 0.5, 0.8]
    assert not controller.is_calibrated


def test_feeding_checkpoints_apart_or_together_is_the_same(sedac):
    risk = sample("correlated", 200, seed=5)
    apart, together = sedac.CascadeController(), sedac.CascadeController()
    for checkpoint in range(3):
        apart.update_threshold(checkpoint, risk[checkpoint])
    together.update_thresholds(risk)
    assert apart.thresholds == together.thresholds
    assert apart.confidence_targets == together.confidence_targets


def test_after_the_warm_up_a_threshold_moves_by_alpha_towards_the_batch(sedac):
    controller, risk = sedac.CascadeController(alpha=0.25), sample("uniform", 100, seed=6)
    controller.update_thresholds(risk)
    before = controller.thresholds
    batch = sample("skewed", 31, seed=7)[1]
    expected = 0.25 * np.quantile(batch.astype(float), 0.5) + 0.75 * before[1]
    assert controller.update_threshold(1, batch) == pytest.approx(expected, abs=1e-9)
    assert controller.thresholds == pytest.approx([before[0], expected, before[2]], abs=1e-9)


def test_the_targets_follow_a_drifting_risk(sedac):
    controller = sedac.CascadeController(calibration_window=1000)
    controller.update_thresholds(sample("uniform", 1000, seed=8))
    for seed in range(60):
        controller.update_thresholds(sample("uniform", 200, seed) * np.float32(2.5))
    drifted = sample("uniform", 50_000, seed=99) * np.float32(2.5)
    rates = cumulative_exits(controller.evaluate(drifted), 50_000)
    np.testing.assert_allclose(rates, RATES, atol=4 * np.sqrt(0.25 / 1000))


def test_samples_that_are_not_finite_are_counted_left_out_and_keep_tokens_together(sedac):
    risk = sample("correlated", 300, seed=10)
    holes = risk.copy()
    holes[0, ::10] = np.nan
    holes[2, 5::10] = np.inf
    controller = sedac.CascadeController()
    controller.update_thresholds(holes)
    assert controller.stats["ignored_samples"] == 60
    finite = holes[0][np.isfinite(holes[0])]
    assert controller.thresholds[0] == pytest.approx(np.quantile(finite.astype(float), 0.2))
    complete = risk[:, np.isfinite(holes).all(axis=0)]
    rates = cumulative_exits(controller.evaluate(complete), complete.shape[1])
    np.testing.assert_allclose(rates, RATES, atol=1 / 240)


def test_nothing_but_unusable_samples_changes_no_threshold(sedac):
    controller = sedac.CascadeController()
    controller.update_thresholds(sample("uniform", 60, seed=11))
    before = controller.thresholds, controller.confidence_targets
    assert controller.update_threshold(0, np.full(9, np.nan, np.float32)) == before[0][0]
    assert controller.update_threshold(0, np.empty(0, np.float32)) == before[0][0]
    assert (controller.thresholds, controller.confidence_targets) == before


def test_a_threshold_never_becomes_zero(sedac):
    controller = sedac.CascadeController(alpha=1.0)
    controller.update_thresholds(np.zeros((3, 50), np.float32))
    controller.update_thresholds(np.zeros((3, 50), np.float32))
    assert all(threshold > 0 for threshold in controller.thresholds)
    # Every token ties at full confidence: none exits is nearer to 20 % than all do.
    rates = cumulative_exits(controller.evaluate(np.zeros((3, 50), np.float32)), 50)
    assert rates.tolist() == [0, 0, 1] or rates.tolist() == [0, 1, 1]


def test_a_token_without_confidence_never_exits(sedac):
    # Half of the tokens are hopeless at every layer; 80 % cannot exit, 50 % do.
    risk = np.where(np.arange(100) % 2, 5.0, sample("uniform", 100, seed=12)).astype(np.float32)
    controller = sedac.CascadeController()
    controller.update_thresholds(risk)
    out = controller.evaluate(np.full((3, 4), 1e6, np.float32))
    assert not out.should_exit.any()


def test_a_target_that_the_caller_sets_is_kept(sedac):
    layer = sedac.LayerConfig
    layers = [layer(1, 0.2, 1.0, 0.5, confidence_target=0.123), layer(2, 0.6, 1.0, 0.5)]
    controller = sedac.CascadeController(layers)
    assert controller.confidence_targets == [0.123, 0.6]
    controller.update_thresholds(sample("uniform", 400, seed=13)[:2])
    assert controller.confidence_targets[0] == 0.123
    assert controller.confidence_targets[1] != 0.6


def test_solved_targets_give_the_rates_at_fixed_thresholds(sedac):
    risk = sample("correlated", 2000, seed=14)
    targets = sedac.solve_confidence_targets(risk)
    defaults = sedac.CascadeController().layer_configs
    layers = [
        sedac.LayerConfig(
            c.layer_idx, c.target_exit_rate, c.initial_threshold, c.confidence_weight, target
        )
        for c, target in zip(defaults, targets, strict=True)
    ]
    out = sedac.CascadeController(layers).evaluate(risk)
    np.testing.assert_allclose(cumulative_exits(out, 2000), RATES, atol=1 / 2000)


def test_solved_targets_are_accepted_even_where_no_token_should_exit(sedac):
    # Most tokens tie at full confidence in the first layer, and 1 % is nearer to none than to most.
    layer, risk = sedac.LayerConfig, np.zeros((2, 100), np.float32)
    risk[0, :20], risk[1] = 0.5, np.linspace(0, 1, 100)
    layers = [layer(0, 0.01, 1.0, 0.3), layer(1, 0.5, 1.0, 0.7)]
    first, second = sedac.solve_confidence_targets(risk, layers)
    solved = [layer(0, 0.01, 1.0, 0.3, first), layer(1, 0.5, 1.0, 0.7, second)]
    exit_layer = sedac.CascadeController(solved).evaluate(risk).exit_layer
    assert [int((exit_layer == i).sum()) for i in (0, 1)] == [0, 50]


def recorded(tokens: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Risks of which the first layer's is noise and the last one's is good."""
    rng = np.random.default_rng(seed)
    difficulty = rng.uniform(0, 1, tokens)
    noise = np.array([[1.0], [0.3], [0.05]]) * rng.standard_normal((3, tokens))
    risk = np.maximum(0, difficulty + noise).astype(np.float32)
    return risk, difficulty <= np.array([[0.2], [0.5], [0.8]])


def test_learned_weights_favour_the_layers_that_know(sedac):
    fit = sedac.fit_weights(*recorded(4000, seed=15))
    assert fit.weights[0] < fit.weights[1] < fit.weights[2]
    assert sum(fit.weights) == pytest.approx(1.0)
    assert fit.log_loss < fit.log_loss_before
    assert fit.confidence_decay == 0.9


def test_learned_weights_make_fewer_wrong_exits_at_equal_rates_on_unseen_tokens(sedac):
    risk, right = recorded(4000, seed=16)
    fit = sedac.fit_weights(risk, right, fit_decay=True)
    given = sedac.solve_confidence_targets(risk)
    defaults = sedac.CascadeController().layer_configs
    unfitted = [
        sedac.LayerConfig(
            c.layer_idx, c.target_exit_rate, c.initial_threshold, c.confidence_weight, t
        )
        for c, t in zip(defaults, given, strict=True)
    ]
    unseen, unseen_right = recorded(50_000, seed=17)

    def wrong(layers, decay) -> float:
        controller = sedac.CascadeController(layers, confidence_decay=decay)
        exits = controller.evaluate(unseen).exit_layer
        return sum(
            ((exits == layer) & ~unseen_right[i]).sum() for i, layer in enumerate((7, 14, 21))
        )

    assert wrong(fit.layer_configs, fit.confidence_decay) < 0.9 * wrong(unfitted, 0.9)


def test_a_fit_on_nothing_to_learn_is_refused(sedac):
    risk, right = recorded(500, seed=18)
    with pytest.raises(ValueError, match="exit_right is unrelated to the risk"):
        sedac.fit_weights(risk, ~right)
    with pytest.raises(ValueError, match="exit_right has shape"):
        sedac.fit_weights(risk, right[:, 1:])
    with pytest.raises(ValueError, match="exit_right is of dtype float32"):
        sedac.fit_weights(risk, risk)
    with pytest.raises(ValueError, match="risk is empty"):
        sedac.fit_weights(risk[:, :0], right[:, :0])

"""The exit rule, worked by hand, in both implementations."""

import tracemalloc
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:sedac_core runs on its slower numpy fallback")


@pytest.fixture(params=["sedac_core._core", "sedac_core.fallback"])
def sedac(request: pytest.FixtureRequest) -> ModuleType:
    return pytest.importorskip(request.param, reason="the Rust core is not built: make build")


def risks(*rows: Any) -> np.ndarray:
    return np.array(rows, np.float32).reshape(len(rows), -1)


def uniform(batch: int, checkpoints: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1.3, (checkpoints, batch)).astype(np.float32)


def test_a_confident_token_exits_at_the_first_layer_with_the_ratio_of_its_confidence(sedac):
    # conf = (0.8 - 0.2) / 0.8 = 0.75, C = 0.3 * 0.75 = 0.225 >= 0.2; then C rises to 0.5225 and
    # 0.72025, and the ratio with it: f(0.72025) = tanh(0.4405) / 2 + 1/2 = 0.70703.
    (decision,) = sedac.CascadeController().evaluate_batch(risks(0.2, 0.2, 0.2))
    assert decision.should_exit is True
    assert decision.exit_layer == 7
    assert decision.accumulated_confidence == pytest.approx(0.72025, abs=1e-6)
    assert decision.soft_exit_ratio == pytest.approx(0.70703, abs=1e-5)


def test_confidence_of_several_layers_adds_up_to_an_exit_that_no_layer_gives_alone(sedac):
    # C: 0.15, then 0.9 * 0.15 + 0.4 * 0.95 = 0.515 >= 0.5.
    (decision,) = sedac.CascadeController().evaluate_batch(risks(0.4, 0.05, 1.2))
    assert decision.exit_layer == 14
    assert decision.accumulated_confidence == pytest.approx(0.515, abs=1e-6)


def test_a_token_that_never_reaches_its_targets_skips_nothing(sedac):
    # C: 0.15, 0.335, 0.5265, each short of 0.2, 0.5 and 0.8.
    (decision,) = sedac.CascadeController().evaluate_batch(risks(0.4, 0.5, 0.3))
    assert (decision.should_exit, decision.exit_layer, decision.soft_exit_ratio) == (False, -1, 0)
    assert decision.accumulated_confidence == pytest.approx(0.5265, abs=1e-6)


def test_the_ratio_of_an_exited_token_never_falls(sedac):
    run = sedac.CascadeController().begin(1)
    first = run.step(0, risks(0.0)[0])[0]
    second = run.step(1, risks(5.0)[0])[0]
    third = run.step(2, risks(0.0)[0])[0]
    assert first == second == pytest.approx(sedac.soft_exit_ratio(0.3), abs=1e-6)
    assert third > second


def test_a_later_layer_cannot_change_what_was_decided_before(sedac):
    risk, controller = uniform(500), sedac.CascadeController()
    other = risk.copy()
    other[2] = uniform(500, seed=9)[2]
    runs = controller.begin(500), controller.begin(500)
    for checkpoint in (0, 1):
        first, second = (
            run.step(checkpoint, rows[checkpoint])
            for run, rows in zip(runs, (risk, other), strict=True)
        )
        np.testing.assert_array_equal(first, second)
    before = controller.evaluate(risk).exit_layer
    after = controller.evaluate(other).exit_layer
    early = (before == 7) | (before == 14)
    np.testing.assert_array_equal(before[early], after[early])


def test_a_hard_exit_skips_everything(sedac):
    out = sedac.CascadeController(soft_exit_enabled=False).evaluate(uniform(300))
    np.testing.assert_array_equal(out.soft_exit_ratio, out.should_exit.astype(np.float32))
    assert 0 < out.should_exit.sum() < 300


def test_the_older_rule_exits_hard_at_the_first_risk_below_its_threshold(sedac):
    controller = sedac.CascadeController(mode="single_layer")
    out = controller.evaluate(
        risks([0.8, 0.79, 2, 2, 0.1], [1, 5, 0.99, 2, 0], [1.2, 5, 5, 1.1, 0])
    )
    assert out.exit_layer.tolist() == [-1, 7, 14, 21, 7]
    assert out.soft_exit_ratio.tolist() == [0, 1, 1, 1, 1]


def test_the_older_rule_exits_at_the_smallest_step_below_its_threshold(sedac):
    layer = sedac.LayerConfig(0, 0.5, 3e37, confidence_weight=1.0)
    below = np.nextafter(np.float32(3e37), np.float32(0))
    out = sedac.CascadeController([layer], mode="single_layer").evaluate(risks([below, 3e37]))
    assert out.should_exit.tolist() == [True, False]


def test_streaming_gives_what_the_whole_matrix_gives(sedac):
    risk, controller = uniform(777), sedac.CascadeController()
    run = controller.begin(777)
    for checkpoint in range(3):
        ratio = run.step(checkpoint, risk[checkpoint])
    streamed, whole = run.finish(), controller.evaluate(risk)
    for one, other in zip(streamed, whole, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(ratio, whole.soft_exit_ratio)


def test_a_run_may_finish_early_and_serves_again_after_a_reset(sedac):
    controller = sedac.CascadeController()
    run = controller.begin(2)
    run.step(0, risks([0.0, 9.0])[0])
    assert run.finish().exit_layer.tolist() == [7, -1]
    run.reset()
    run.step(0, risks([9.0, 0.0])[0])
    assert run.finish().exit_layer.tolist() == [-1, 7]
    assert controller.stats["calls"] == 2


def test_a_run_keeps_the_thresholds_it_began_with_until_it_is_reset(sedac, tmp_path):
    controller = sedac.CascadeController(calibration_steps=1)
    run, risk = controller.begin(1), risks(0.1)[0]
    controller.update_thresholds(risks(0.05, 0.05, 0.05))
    assert run.step(0, risk)[0] > 0, "0.1 is confident at the threshold 0.8 that it began with"
    run.reset()
    assert run.step(0, risk)[0] == 0, "and is not at the threshold 0.05 that holds now"
    sedac.CascadeController(soft_exit_enabled=False).save(tmp_path / "hard.json")
    controller.load(tmp_path / "hard.json")
    run.reset()
    assert run.step(0, risk)[0] == 1


def test_streaming_into_given_arrays_allocates_nothing_of_the_size_of_a_batch(sedac):
    batch = 50_000
    risk, controller = uniform(batch), sedac.CascadeController()
    run, ratio, out = controller.begin(batch), np.empty(batch, np.float32), sedac.ExitArrays(batch)
    assert run.step(0, risk[0], out=ratio) is ratio
    run.reset()
    tracemalloc.start()
    for _ in range(3):
        for checkpoint in range(3):
            run.step(checkpoint, risk[checkpoint], out=ratio)
        assert run.finish(out=out) is out
        run.reset()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < batch, f"{peak} bytes for a batch of {batch}: an array was allocated"


def test_given_arrays_are_filled_and_returned(sedac):
    risk, controller = uniform(40), sedac.CascadeController()
    out = sedac.ExitArrays(40)
    assert controller.evaluate(risk, out=out) is out
    for one, other in zip(out, controller.evaluate(risk), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [array.dtype for array in out] == [np.bool_, np.int32, np.float32, np.float32]
    assert len(out) == 40


def test_decisions_are_the_arrays_token_by_token(sedac):
    risk, controller = uniform(64), sedac.CascadeController()
    arrays, decisions = controller.evaluate(risk), controller.evaluate_batch(risk)
    assert [d.exit_layer for d in decisions] == arrays.exit_layer.tolist()
    assert [d.should_exit for d in decisions] == arrays.should_exit.tolist()
    assert [d.soft_exit_ratio for d in decisions] == arrays.soft_exit_ratio.tolist()
    assert [d.accumulated_confidence for d in decisions] == arrays.accumulated_confidence.tolist()


def test_an_empty_batch_is_a_batch(sedac):
    controller = sedac.CascadeController()
    assert controller.evaluate_batch(np.empty((3, 0), np.float32)) == []
    run = controller.begin(0)
    assert len(run.step(0, np.empty(0, np.float32))) == 0
    assert len(run.finish()) == 0


@pytest.mark.parametrize(
    "view",
    [
        np.asfortranarray,
        lambda risk: np.repeat(risk, 2, axis=1)[:, ::2],
        lambda risk: risk[:, ::-1][:, ::-1],
        lambda risk: np.pad(risk, ((0, 0), (3, 5)))[:, 3:-5],
    ],
)
def test_any_memory_layout_gives_the_same(sedac, view):
    risk, controller = uniform(130), sedac.CascadeController()
    expected = controller.evaluate(risk)
    for one, other in zip(controller.evaluate(view(risk)), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    run = controller.begin(130)
    for checkpoint in range(3):
        ratio = run.step(checkpoint, view(risk)[checkpoint])
    np.testing.assert_array_equal(ratio, expected.soft_exit_ratio)


def test_lenient_mode_counts_what_it_cannot_use_and_is_not_confident_there(sedac):
    bad = np.array([np.nan, np.inf, -np.inf, -0.5, 0.0], np.float32)
    controller = sedac.CascadeController(strict=False)
    out = controller.evaluate(np.stack([bad, bad, bad]))
    assert out.exit_layer.tolist() == [-1, -1, -1, -1, 7]
    assert out.accumulated_confidence.tolist()[:4] == [0, 0, 0, 0]
    run = controller.begin(5)
    run.step(0, bad)
    run.finish()
    assert controller.stats["ignored_samples"] == 12 + 4


def test_stats_count_calls_tokens_and_exits(sedac):
    controller = sedac.CascadeController()
    first = controller.evaluate(uniform(100))
    run = controller.begin(10)
    run.step(0, np.zeros(10, np.float32))
    run.finish()
    stats = controller.stats
    assert (stats["calls"], stats["tokens"], stats["ignored_samples"]) == (2, 110, 0)
    expected = {7: 10, 14: 0, 21: 0}
    for layer in expected:
        expected[layer] += int((first.exit_layer == layer).sum())
    assert stats["exits_per_layer"] == expected


def routed(sedac: ModuleType) -> Any:
    layer = sedac.LayerConfig
    action = [layer(3, 0.1, 2.0, 1.0), layer(9, 0.2, 2.0, 1.0), layer(12, 0.3, 2.0, 1.0)]
    return sedac.CascadeController(routes={"action": action})


@pytest.mark.parametrize("by_name", [True, False])
def test_one_evaluation_serves_mixed_routes(sedac, by_name):
    controller, risk = routed(sedac), uniform(60)
    names = ["default"] * 20 + ["action"] * 15 + ["default", "action"] * 12 + ["default"]
    assert controller.route_names == ["default", "action"]
    routes: Any = names if by_name else np.array([n == "action" for n in names], np.int32)
    mixed = controller.evaluate(risk, routes)
    alone = {name: controller.evaluate(risk, [name] * 60) for name in ("default", "action")}
    for token, name in enumerate(names):
        for one, other in zip(mixed, alone[name], strict=True):
            assert one[token] == other[token]
    assert set(alone["action"].exit_layer.tolist()) <= {-1, 3, 9, 12}
    run = controller.begin(60, routes)
    for checkpoint in range(3):
        ratio = run.step(checkpoint, risk[checkpoint])
    np.testing.assert_array_equal(ratio, mixed.soft_exit_ratio)
    np.testing.assert_array_equal(run.finish().exit_layer, mixed.exit_layer)


def test_routes_calibrate_apart(sedac):
    controller = routed(sedac)
    controller.update_thresholds(uniform(80), route="action")
    assert controller.route_state("action")["calibrated"]
    assert not controller.is_calibrated
    assert controller.thresholds == [0.8, 1.0, 1.2]


def test_uncertainty_weakens_what_was_gathered(sedac):
    controller = sedac.CascadeController(adaptive_decay=True)
    risk = risks(0.4, 0.4, 0.4)
    certain = controller.evaluate(risk).accumulated_confidence[0]
    unsure = controller.evaluate(risk, uncertainty=[0.0, 1.0, 0.0]).accumulated_confidence[0]
    # conf: 0.5, 0.6, 2/3; with u = 1 at the second step nothing of the first is left.
    assert certain == pytest.approx(0.9 * (0.9 * 0.15 + 0.24) + 0.2, abs=1e-6)
    assert unsure == pytest.approx(0.9 * 0.24 + 0.2, abs=1e-6)
    run = controller.begin(1)
    run.step(0, risk[0])
    run.step(1, risk[1], uncertainty=1.0)
    run.step(2, risk[2])
    assert run.finish().accumulated_confidence[0] == unsure


def test_recent_right_exits_strengthen_what_was_gathered(sedac):
    controller = sedac.CascadeController(adaptive_decay=True)
    controller.record_outcomes([True, True, True, False])
    decay = 0.9 * (1 + 0.1 * 3 / 4)
    out = controller.evaluate(risks(0.4, 0.4, 1.2)).accumulated_confidence[0]
    assert out == pytest.approx(decay * (decay * 0.15 + 0.24), abs=1e-6)


def test_the_soft_ratio_takes_numbers_and_arrays(sedac):
    assert sedac.soft_exit_ratio(0.5) == pytest.approx(0.5, abs=1e-7)
    values = np.array([[0.8, 1.0]], np.float32)
    np.testing.assert_allclose(sedac.soft_exit_ratio(values), [[0.7685, 0.8808]], atol=5e-5)


def test_entropy_and_softmax_along_the_last_axis(sedac):
    logits = np.array([[1e4, 1e4], [0, -np.inf]], np.float32)
    probs = sedac.softmax(logits)
    np.testing.assert_array_equal(probs, [[0.5, 0.5], [1, 0]])
    np.testing.assert_allclose(sedac.entropy(probs), [np.log(2), 0], atol=1e-7)
    assert sedac.entropy(sedac.softmax(logits[0])) == pytest.approx(np.log(2))


def test_quantile_is_numpys(sedac):
    data = np.random.default_rng(4).exponential(size=37).astype(np.float32)
    for q in (0, 0.2, 0.5, 0.77, 1):
        assert sedac.quantile(data, q) == pytest.approx(np.quantile(data.astype(float), q))

"""Properties of the exit rule over random and edge inputs, in both implementations."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pytestmark = pytest.mark.filterwarnings("ignore:sedac_core runs on its slower numpy fallback")

RUNS = settings(max_examples=150, deadline=None, derandomize=True)
TINY, HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
EDGES = [0.0, TINY, 1e-6, 0.8, 1.0, 1.2, float(np.nextafter(np.float32(0.8), np.float32(0))), HUGE]


@pytest.fixture(scope="module", params=["sedac_core._core", "sedac_core.fallback"])
def sedac(request: pytest.FixtureRequest) -> ModuleType:
    return pytest.importorskip(request.param, reason="the Rust core is not built: make build")


def float32(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(np.float32(low).item(), np.float32(high).item(), width=32)


RISK_VALUES = float32(0, 2) | st.sampled_from(EDGES)
ANY_VALUES = RISK_VALUES | st.floats(width=32)


@st.composite
def cases(draw: st.DrawFn, values: st.SearchStrategy[float] = RISK_VALUES) -> dict[str, Any]:
    """A configuration whose targets can be reached, and a risk matrix for it."""
    layers = draw(st.integers(1, 5))
    decay = draw(float32(0, 1))
    reachable, configs = 0.0, []
    for index in range(layers):
        weight = draw(float32(0.05, 2))
        reachable = decay * reachable + weight
        configs.append(
            {
                "layer_idx": 3 * index,
                "target_exit_rate": draw(float32(0.01, 1)),
                "initial_threshold": draw(float32(0.01, 5)),
                "confidence_weight": weight,
                "confidence_target": draw(float32(0.01, 0.99)) * reachable,
            }
        )
    shape = layers, draw(st.integers(0, 40))
    return {
        "layers": configs,
        "decay": decay,
        "soft": draw(st.booleans()),
        "risk": draw(hnp.arrays(np.float32, shape, elements=values)),
    }


def controller(sedac: ModuleType, case: dict[str, Any], **options: Any) -> Any:
    layers = [sedac.LayerConfig(**layer) for layer in case["layers"]]
    return sedac.CascadeController(layers, 0.1, case["decay"], case["soft"], **options)


def reference(case: dict[str, Any]) -> list[tuple[bool, int, float, float]]:
    """The definitions of the specification as a plain loop over tokens and layers."""
    one = np.float32
    decisions = []
    for token in range(case["risk"].shape[1]):
        accumulated, best, exit_layer = one(0), one(0), -1
        for layer, risk in zip(case["layers"], case["risk"][:, token], strict=True):
            scale = one(layer["initial_threshold"])
            usable = np.isfinite(risk) and risk >= 0
            with np.errstate(over="ignore"):
                raw = (scale - risk) / scale if usable else one(0)
            confidence = min(max(raw, one(0)), one(1))
            weighted = one(layer["confidence_weight"]) * confidence
            accumulated = one(case["decay"]) * accumulated + weighted
            if exit_layer < 0 and accumulated >= one(layer["confidence_target"]):
                exit_layer = layer["layer_idx"]
            if exit_layer >= 0:
                best = max(best, accumulated)
        if exit_layer < 0:
            decisions.append((False, -1, float(accumulated), 0.0))
            continue
        ratio = 0.5 * np.tanh(2 * float(best) - 1) + 0.5 if case["soft"] else 1.0
        decisions.append((True, exit_layer, float(best), float(ratio)))
    return decisions


def assert_is(out: Any, expected: list[tuple[bool, int, float, float]]) -> None:
    columns = list(zip(*expected, strict=True)) or [()] * 4
    assert out.should_exit.tolist() == list(columns[0])
    assert out.exit_layer.tolist() == list(columns[1])
    assert out.accumulated_confidence.tolist() == list(columns[2]), "to the bit in float32"
    np.testing.assert_allclose(out.soft_exit_ratio, columns[3], atol=1e-6)


@RUNS
@given(case=cases())
def test_evaluation_is_the_plain_loop(sedac, case):
    assert_is(controller(sedac, case).evaluate(case["risk"]), reference(case))


@RUNS
@given(case=cases(ANY_VALUES))
def test_lenient_evaluation_is_the_plain_loop_on_anything(sedac, case):
    lenient = controller(sedac, case, strict=False)
    assert_is(lenient.evaluate(case["risk"]), reference(case))
    usable = np.isfinite(case["risk"]) & (case["risk"] >= 0)
    assert lenient.stats["ignored_samples"] == (~usable).sum()


@RUNS
@given(case=cases(), mode=st.sampled_from(["accumulate", "single_layer"]))
def test_streaming_is_the_whole_matrix_and_ratios_never_fall(sedac, case, mode):
    whole = controller(sedac, case, mode=mode).evaluate(case["risk"])
    run = controller(sedac, case, mode=mode).begin(case["risk"].shape[1])
    before = np.zeros(case["risk"].shape[1], np.float32)
    for checkpoint, risk in enumerate(case["risk"]):
        ratio = run.step(checkpoint, risk)
        assert (ratio >= before).all()
        assert ((ratio >= 0) & (ratio <= 1)).all()
        assert (ratio[before > 0] > 0).all(), "an exit latches"
        before = ratio
    for one, other in zip(run.finish(), whole, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(before, whole.soft_exit_ratio)


@RUNS
@given(case=cases(), seed=st.integers(0, 2**32 - 1))
def test_permuting_the_batch_permutes_the_result(sedac, case, seed):
    order = np.random.default_rng(seed).permutation(case["risk"].shape[1])
    plain = controller(sedac, case).evaluate(case["risk"])
    permuted = controller(sedac, case).evaluate(case["risk"][:, order])
    for one, other in zip(plain, permuted, strict=True):
        np.testing.assert_array_equal(one[order], other)


@RUNS
@given(case=cases())
def test_the_older_rule_is_one_comparison_a_layer(sedac, case):
    out = controller(sedac, case, mode="single_layer").evaluate(case["risk"])
    thresholds = [np.float32(layer["initial_threshold"]) for layer in case["layers"]]
    for token, exit_layer in enumerate(out.exit_layer):
        below = [r < t for r, t in zip(case["risk"][:, token], thresholds, strict=True)]
        expected = case["layers"][below.index(True)]["layer_idx"] if any(below) else -1
        assert exit_layer == expected
    np.testing.assert_array_equal(out.soft_exit_ratio, out.should_exit.astype(np.float32))


@RUNS
@given(
    samples=hnp.arrays(np.float32, st.tuples(st.just(3), st.integers(1, 60)), elements=ANY_VALUES),
    drift=hnp.arrays(np.float32, st.tuples(st.just(3), st.integers(0, 20)), elements=ANY_VALUES),
)
def test_thresholds_stay_positive_and_finite_whatever_comes(sedac, samples, drift):
    lenient = sedac.CascadeController(calibration_steps=5, calibration_window=40, strict=False)
    lenient.update_thresholds(samples)
    lenient.update_thresholds(drift)
    for value in (*lenient.thresholds, *lenient.confidence_targets):
        assert 0 < value < np.inf
        assert np.float32(value) > 0


@RUNS
@given(
    samples=hnp.arrays(np.float32, st.tuples(st.just(3), st.integers(1, 60)), elements=RISK_VALUES),
    drift=hnp.arrays(np.float32, st.tuples(st.just(3), st.integers(0, 20)), elements=ANY_VALUES),
)
def test_both_implementations_calibrate_alike(samples, drift):
    reason = "the Rust core is not built: make build"
    results = []
    for name in ("sedac_core._core", "sedac_core.fallback"):
        sedac = pytest.importorskip(name, reason=reason)
        lenient = sedac.CascadeController(calibration_steps=5, calibration_window=40, strict=False)
        lenient.update_thresholds(samples)
        lenient.update_thresholds(drift)
        results.append((lenient.thresholds, lenient.confidence_targets, lenient.stats))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-9)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-6)
    assert results[0][2] == results[1][2]

"""What is refused, with which words; and that a refusal changes nothing."""

import json
from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:sedac_core runs on its slower numpy fallback")


@pytest.fixture(params=["sedac_core._core", "sedac_core.fallback"])
def sedac(request: pytest.FixtureRequest) -> ModuleType:
    return pytest.importorskip(request.param, reason="the Rust core is not built: make build")


GOOD = np.full((3, 4), 0.5, np.float32)


def with_value(value: float) -> np.ndarray:
    risk = GOOD.copy()
    risk[1, 2] = value
    return risk


@pytest.mark.parametrize(
    ("risk", "words"),
    [
        (GOOD[:2], r"risk has shape \(2, 4\); it must have shape \(3, batch\)"),
        (GOOD[0], r"risk has shape \(4,\)"),
        (GOOD.astype(np.float64), "risk is of dtype float64; it must be a numpy array of float32"),
        (GOOD.astype(np.int32), "risk is of dtype int32"),
        ([[0.5]] * 3, "risk is of type list; it must be a numpy array of float32"),
        (with_value(-0.25), "risk is -0.25 at checkpoint 1, token 2; it must be finite and >= 0"),
        (with_value(np.nan), "risk is (NaN|nan) at checkpoint 1, token 2"),
        (with_value(np.inf), "risk is inf at checkpoint 1, token 2"),
    ],
)
def test_a_bad_risk_is_refused_and_changes_nothing(sedac, risk, words):
    controller, out = sedac.CascadeController(), sedac.ExitArrays(4)
    controller.evaluate(GOOD, out=out)
    before = controller.stats, [array.copy() for array in out]
    for evaluate in (controller.evaluate, controller.evaluate_batch):
        with pytest.raises(ValueError, match=words):
            evaluate(risk)
    with pytest.raises(ValueError, match=words):
        controller.evaluate(risk, out=out)
    assert controller.stats == before[0]
    for array, copy in zip(out, before[1], strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_bad_step_leaves_the_run_as_it_was(sedac):
    controller = sedac.CascadeController()
    run, twin = controller.begin(4), controller.begin(4)
    for each in (run, twin):
        each.step(0, GOOD[0])
    for checkpoint, risk, error, words in [
        (1, GOOD[0][:3], ValueError, r"risk has shape \(3,\); it must have shape \(4,\)"),
        (1, GOOD[0].astype(float), ValueError, "float64"),
        (1, with_value(-1.0)[1], ValueError, "risk is -1.* at checkpoint 1, token 2"),
        (1, with_value(np.nan)[1], ValueError, "at checkpoint 1, token 2"),
        (0, GOOD[0], ValueError, "checkpoint 0 was fed where 1 is next"),
        (2, GOOD[0], ValueError, "checkpoint 2 was fed where 1 is next"),
        (3, GOOD[0], IndexError, "checkpoint 3 does not exist; this controller has 3"),
        (-1, GOOD[0], IndexError, "checkpoint -1 does not exist"),
    ]:
        with pytest.raises(error, match=words):
            run.step(checkpoint, risk)
    with pytest.raises(ValueError, match="uncertainty 0.5 was given but adaptive_decay is off"):
        run.step(1, GOOD[1], uncertainty=0.5)
    np.testing.assert_array_equal(run.step(1, GOOD[1]), twin.step(1, GOOD[1]))
    run.finish()
    for call in (run.finish, lambda: run.step(2, GOOD[2])):
        with pytest.raises(ValueError, match=r"this run is finished; call reset\(\)"):
            call()


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (np.empty(3, np.float32), r"out has shape \(3,\); it must have shape \(4,\)"),
        (np.empty(4, np.float64), "out is of dtype float64"),
        (np.empty(8, np.float32)[::2], "out is not contiguous"),
        ([0.0] * 4, "out is of type list"),
    ],
)
def test_an_output_that_does_not_fit_is_refused(sedac, out, words):
    run = sedac.CascadeController().begin(4)
    with pytest.raises(ValueError, match=words):
        run.step(0, GOOD[0], out=out)
    run.step(0, GOOD[0])


def test_an_output_that_is_read_only_or_shared_is_refused(sedac):
    run, frozen, risk = sedac.CascadeController().begin(4), np.empty(4, np.float32), GOOD[0].copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        run.step(0, risk, out=frozen)
    with pytest.raises(ValueError, match="shares memory with another argument"):
        run.step(0, risk, out=risk)
    np.testing.assert_array_equal(risk, GOOD[0])
    with pytest.raises(ValueError, match=r"has shape \(5,\); it must have shape \(4,\)"):
        run.finish(out=sedac.ExitArrays(5))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 1.5}, "alpha is 1.5; it must be from 0 to 1"),
        ({"alpha": float("nan")}, "alpha is (NaN|nan)"),
        ({"confidence_decay": -0.1}, "confidence_decay is -0.1; it must be from 0 to 1"),
        ({"calibration_steps": 0}, "calibration_steps is 0; it must be at least 1"),
        ({"calibration_steps": 9, "calibration_window": 8}, "calibration_window is 8"),
        ({"mode": "best"}, 'mode is "best"; it must be "accumulate" or "single_layer"'),
        ({"scale_quantile": 0.0}, "scale_quantile is 0"),
        ({"layer_configs": []}, "is empty; give at least one LayerConfig"),
        ({"model_depth": 16}, "layer_idx 21 does not exist in a model of 16 layers; use 0 to 15"),
        ({"confidence_decay": 0.1}, "layer 14 can never exit: .* 0.5 but at most 0.4300"),
    ],
)
def test_an_option_out_of_range_is_refused(sedac, options, words):
    with pytest.raises(ValueError, match=words):
        sedac.CascadeController(**options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1, 0.5, 1.0), "layer_idx is -1"),
        ((1, 0.0, 1.0), "target_exit_rate is 0.*above 0 and at most 1"),
        ((1, 1.1, 1.0), "target_exit_rate is 1.1"),
        ((1, 0.5, 0.0), "initial_threshold is 0"),
        ((1, 0.5, float("inf")), "initial_threshold is inf"),
        ((1, 0.5, 1.0, -0.1), "confidence_weight is -0.1"),
        ((1, 0.5, 1.0, float("nan")), "confidence_weight is (NaN|nan)"),
        ((1, 0.5, 1.0, 0.5, 0.0), "confidence_target is 0"),
    ],
)
def test_a_layer_out_of_range_is_refused(sedac, arguments, words):
    with pytest.raises(ValueError, match=words):
        sedac.LayerConfig(*arguments)


def test_layers_that_do_not_fit_together_are_refused(sedac):
    layer = sedac.LayerConfig
    with pytest.raises(ValueError, match="layer_idx 5 follows 5; .* strictly increasing"):
        sedac.CascadeController([layer(5, 0.2, 1, 1), layer(5, 0.3, 1, 1)])
    with pytest.raises(ValueError, match="layer 2 can never exit: .* 0.5 but at most 0.4000"):
        sedac.CascadeController([layer(2, 0.5, 1.0, 0.4)])
    with pytest.raises(ValueError, match="has 3 weights for 2 layers; give one weight a layer"):
        sedac.CascadeController([layer(1, 0.2, 1.0), layer(2, 0.3, 1.0)])
    one = [layer(1, 0.2, 1.0, 1.0)]
    with pytest.raises(ValueError, match='route "image" has 1 layers where .* has 3'):
        sedac.CascadeController(routes={"image": one})
    with pytest.raises(ValueError, match='"default" twice'):
        sedac.CascadeController(one, routes={"default": one})


def test_routes_that_do_not_exist_are_refused(sedac):
    controller = sedac.CascadeController()
    with pytest.raises(ValueError, match='route "sound" does not exist; this controller has def'):
        controller.evaluate(GOOD, ["default", "sound", "default", "default"])
    with pytest.raises(IndexError, match="route 7 of token 3 does not exist"):
        controller.begin(4, np.array([0, 0, 0, 7], np.int32))
    with pytest.raises(ValueError, match=r"routes has shape \(2,\); it must have shape \(4,\)"):
        controller.begin(4, ["default"] * 2)
    with pytest.raises(ValueError, match="batch is -1"):
        controller.begin(-1)


def test_bad_samples_change_no_threshold(sedac):
    controller = sedac.CascadeController(calibration_steps=4)
    controller.update_thresholds(GOOD)
    before = controller.thresholds, controller.confidence_targets, controller.stats
    for call, error, words in [
        (lambda: controller.update_threshold(3, GOOD[0]), IndexError, "checkpoint 3"),
        (lambda: controller.update_threshold(0, GOOD), ValueError, "samples has shape"),
        (lambda: controller.update_threshold(0, -GOOD[0]), ValueError, "risk is -0.5"),
        (lambda: controller.update_thresholds(with_value(-2.0)), ValueError, "checkpoint 1, tok"),
        (lambda: controller.update_thresholds(GOOD[:2]), ValueError, r"shape \(2, 4\)"),
        (lambda: controller.update_threshold(0, GOOD[0], route="x"), ValueError, 'route "x"'),
    ]:
        with pytest.raises(error, match=words):
            call()
    assert (controller.thresholds, controller.confidence_targets, controller.stats) == before


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SEDAC_CONFIDENCE_DECAY", "much", "a number from 0 to 1"),
        ("SEDAC_CONFIDENCE_DECAY", "1.5", "a number from 0 to 1"),
        ("SEDAC_CONFIDENCE_DECAY", "nan", "a number from 0 to 1"),
        ("SEDAC_SOFT_EXIT", "maybe", "1 or 0"),
        ("SEDAC_LAYER_WEIGHTS", "0.3,,0.3", "separated by commas"),
        ("SEDAC_LAYER_WEIGHTS", "0.3,-1,0.3", "finite numbers >= 0"),
    ],
)
def test_a_malformed_variable_is_named_unless_an_argument_makes_it_moot(
    sedac, monkeypatch, name, value, words
):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f'environment variable {name} is "{value}".*{words}'):
        sedac.CascadeController()
    layers = [sedac.LayerConfig(3, 0.5, 1.0, confidence_weight=1.0)]
    sedac.CascadeController(layers, confidence_decay=0.9, soft_exit_enabled=True)


def test_functions_refuse_what_has_no_answer(sedac):
    f32 = np.float32
    for call, words in [
        (lambda: sedac.entropy(np.array([0.7, 0.7], f32)), r"probs holds 1\.(4|39)"),
        (lambda: sedac.entropy(np.array([-0.1, 1.1], f32)), r"probs holds -0\.1"),
        (lambda: sedac.softmax(np.array([0.0, np.nan], f32)), "logits holds (NaN|nan) at index 1"),
        (lambda: sedac.softmax(np.array([-np.inf], f32)), "at least one finite entry"),
        (lambda: sedac.quantile(np.empty(0, f32), 0.5), "data is empty"),
        (lambda: sedac.quantile(np.ones(2, f32), 1.5), "q is 1.5; it must be from 0 to 1"),
        (lambda: sedac.quantile(np.array([np.nan], f32), 0.5), "data holds (NaN|nan)"),
        (lambda: sedac.soft_exit_ratio(float("nan")), "c holds (NaN|nan)"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


def test_a_file_of_another_version_or_kind_changes_nothing(sedac, tmp_path):
    controller = sedac.CascadeController(alpha=0.3)
    good = tmp_path / "good.json"
    controller.save(good)
    content = json.loads(good.read_text())
    spoilt = {
        "version 2;.*reads version 1": {**content, "version": 2},
        "version none;.*reads version 1": {},
        "not a saved SEDAC controller": {**content, "states": []},
        "alpha is 7": {**content, "settings": {**content["settings"], "alpha": 7.0}},
        "thresholds holds -1": {
            **content,
            "states": [{**content["states"][0], "thresholds": [-1.0, 1.0, 1.0]}],
        },
        "2 thresholds for 3 checkpoints": {
            **content,
            "states": [{**content["states"][0], "thresholds": [1.0, 1.0]}],
        },
    }
    target = sedac.CascadeController(alpha=0.4)
    for words, data in spoilt.items():
        path = tmp_path / "spoilt.json"
        path.write_text(json.dumps(data))
        with pytest.raises(ValueError, match=words):
            target.load(path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"spoilt.json is not a saved SEDAC controller"):
        target.load(path)
    with pytest.raises(FileNotFoundError):
        target.load(tmp_path / "nowhere.json")
    with pytest.raises(FileNotFoundError):
        target.save(tmp_path / "nowhere" / "file.json")
    assert target.alpha == 0.4

"""The package as a whole: one surface, one file format, defaults from the environment."""

import importlib
import inspect
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:sedac_core runs on its slower numpy fallback")

NAMES = ["sedac_core._core", "sedac_core.fallback"]


@pytest.fixture(params=NAMES)
def sedac(request: pytest.FixtureRequest) -> ModuleType:
    return pytest.importorskip(request.param, reason="the Rust core is not built: make build")


@pytest.fixture
def both() -> list[ModuleType]:
    return [
        pytest.importorskip(name, reason="the Rust core is not built: make build") for name in NAMES
    ]


def public(owner: object) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


def parameters(function: object) -> list[tuple[str, object, object]]:
    signature = inspect.signature(function)  # type: ignore[arg-type]
    return [
        (p.name, p.default, p.kind == p.KEYWORD_ONLY)
        for p in signature.parameters.values()
        if p.name != "self"
    ]


def test_both_implementations_offer_the_same_surface(both):
    core, fallback = both
    assert set(core.__all__) == set(fallback.__all__)
    for name in fallback.__all__:
        ours, theirs = getattr(core, name), getattr(fallback, name)
        if not inspect.isclass(theirs):
            assert parameters(ours) == parameters(theirs), name
            continue
        missing = public(ours) - set(dir(theirs)) - set(getattr(theirs, "__annotations__", {}))
        assert not missing, f"{name} of the fallback has no {missing}"
        for method in public(ours):
            if callable(getattr(ours, method)):
                pair = getattr(ours, method), getattr(theirs, method)
                assert parameters(pair[0]) == parameters(pair[1]), f"{name}.{method}"
    assert parameters(core.CascadeController) == parameters(fallback.CascadeController)
    assert parameters(core.LayerConfig) == parameters(fallback.LayerConfig)


def test_the_package_offers_what_its_implementations_do(both):
    package = importlib.import_module("sedac_core")
    assert set(package.__all__) == {*both[0].__all__, "COMPILED"}
    assert package.COMPILED
    assert package.CascadeController is both[0].CascadeController


def test_the_stub_describes_the_extension(both):
    pytest.importorskip("mypy", reason="mypy is not installed")
    check = [sys.executable, "-m", "mypy.stubtest", "sedac_core._core"]
    result = subprocess.run(check, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_without_the_extension_one_warning_says_what_to_run():
    script = (
        "import sys, warnings; sys.modules['sedac_core._core'] = None\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    import sedac_core, sedac_core.fallback\n"
        "(warning,) = caught\n"
        "assert 'pip install ./sedac_core' in str(warning.message), warning.message\n"
        "assert not sedac_core.COMPILED\n"
        "assert sedac_core.CascadeController is sedac_core.fallback.CascadeController\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_defaults_come_from_the_environment_and_arguments_win(sedac, monkeypatch):
    monkeypatch.setenv("SEDAC_CONFIDENCE_DECAY", "0.95")
    monkeypatch.setenv("SEDAC_SOFT_EXIT", "0")
    monkeypatch.setenv("SEDAC_LAYER_WEIGHTS", "0.2, 0.5, 0.4")
    controller = sedac.CascadeController()
    assert controller.confidence_decay == 0.95
    assert not controller.soft_exit_enabled
    assert [c.confidence_weight for c in controller.layer_configs] == [0.2, 0.5, 0.4]
    layers = [
        sedac.LayerConfig(1, 0.1, 1.0, confidence_weight=0.7),
        sedac.LayerConfig(2, 0.2, 1.0),
        sedac.LayerConfig(3, 0.3, 1.0),
    ]
    controller = sedac.CascadeController(layers, confidence_decay=0.8, soft_exit_enabled=True)
    assert controller.confidence_decay == 0.8
    assert controller.soft_exit_enabled
    assert [c.confidence_weight for c in controller.layer_configs] == [0.7, 0.5, 0.4]


def test_the_defaults_without_an_environment(sedac, monkeypatch):
    for name in ("SEDAC_CONFIDENCE_DECAY", "SEDAC_SOFT_EXIT", "SEDAC_LAYER_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    controller = sedac.CascadeController(model_depth=28)
    assert (controller.alpha, controller.confidence_decay) == (0.1, 0.9)
    assert (controller.soft_exit_enabled, controller.calibration_steps) == (True, 50)
    assert (controller.mode, controller.strict) == ("accumulate", True)
    assert [c.layer_idx for c in controller.layer_configs] == [7, 14, 21]
    assert [c.confidence_weight for c in controller.layer_configs] == [0.3, 0.4, 0.3]
    assert "layer_idx=7, target_exit_rate=0.2" in repr(controller.layer_configs[0])


@pytest.mark.parametrize("reader", NAMES)
@pytest.mark.parametrize("writer", NAMES)
def test_what_one_implementation_saves_the_other_loads(writer, reader, both, tmp_path):
    modules = dict(zip(NAMES, both, strict=True))
    layer = modules[writer].LayerConfig
    layers = [layer(2, 0.3, 1.5, 0.6, 0.25), layer(5, 0.6, 1.1, 0.7)]
    saved = modules[writer].CascadeController(
        layers, alpha=0.2, confidence_decay=0.7, routes={"image": layers}, adaptive_decay=True
    )
    rng = np.random.default_rng(2)
    saved.update_thresholds(rng.uniform(0, 1, (2, 90)).astype(np.float32))
    path = tmp_path / "controller.json"
    saved.save(path)
    loaded = modules[reader].CascadeController()
    loaded.load(str(path))
    for name in (
        "alpha",
        "confidence_decay",
        "soft_exit_enabled",
        "calibration_steps",
        "mode",
        "thresholds",
        "confidence_targets",
        "is_calibrated",
        "route_names",
    ):
        assert getattr(loaded, name) == getattr(saved, name), name
    for route in ("default", "image"):
        assert loaded.route_state(route) == saved.route_state(route)
    risk = rng.uniform(0, 1, (2, 500)).astype(np.float32)
    ours, theirs = loaded.evaluate(risk), saved.evaluate(risk)
    np.testing.assert_array_equal(ours.exit_layer, theirs.exit_layer)
    np.testing.assert_array_equal(ours.accumulated_confidence, theirs.accumulated_confidence)
    assert [p.name for p in tmp_path.iterdir()] == ["controller.json"], "no part is left behind"


def test_loading_starts_windows_and_counters_afresh(sedac, tmp_path):
    controller = sedac.CascadeController(calibration_steps=20)
    risk = np.random.default_rng(3).uniform(0, 2, (3, 40)).astype(np.float32)
    controller.update_thresholds(risk)
    controller.evaluate(risk)
    controller.save(tmp_path / "c.json")
    targets = controller.confidence_targets
    controller.load(tmp_path / "c.json")
    assert controller.stats["calls"] == 0
    controller.update_thresholds(risk[:, :5])
    assert controller.confidence_targets == targets, "five tokens are too few to solve on"
    controller.update_thresholds(risk)
    assert controller.confidence_targets != targets

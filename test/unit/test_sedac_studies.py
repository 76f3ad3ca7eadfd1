"""The speed benchmark and the noise study, at small sizes: right, not fast."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("sedac_core._core", reason="the Rust core is not built: make build")

from salus_ros.bench import sedac, sedac_noise
from salus_ros.cli import bench, evaluate
from sedac_core import CascadeController


def test_the_plain_loop_of_the_benchmark_does_the_same_work():
    risk = sedac.risks(400)
    out = CascadeController().evaluate(risk)
    columns = zip(*sedac.plain_loop(risk.tolist()), strict=True)
    flags, layers, confidences, ratios = (np.array(column) for column in columns)
    # Double precision may see a target reached a rounding earlier or later.
    same = out.exit_layer == layers
    assert same.mean() > 0.99
    assert (out.should_exit == flags)[same].all()
    np.testing.assert_allclose(out.accumulated_confidence[same], confidences[same], atol=1e-6)
    np.testing.assert_allclose(out.soft_exit_ratio[same], ratios[same], atol=1e-6)


def test_the_benchmark_writes_every_figure_and_where_it_comes_from(tmp_path, monkeypatch):
    monkeypatch.setattr(sedac, "BATCHES", (1, 64))
    monkeypatch.setattr(sedac, "LEAST_TIMING", 1e-5)
    file = tmp_path / "speed.json"
    result = CliRunner().invoke(bench.app, ["sedac", "--rounds", "3", "--json", str(file)])
    assert result.exit_code == 0, result.output
    content = json.loads(file.read_text())
    assert [row["batch"] for row in content["evaluate"]] == [1, 64]
    for row in content["evaluate"]:
        assert row["times_numpy"] == pytest.approx(row["numpy_us"] / row["core_us"])
        assert row["times_python"] == pytest.approx(row["python_us"] / row["core_us"])
    assert [row["batch"] for row in content["step"]] == [1, 64]
    assert {"hardware", "versions", "commit", "goals"} <= set(content)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sedac_noise, "SIGMAS", (0.0, 0.2))
    monkeypatch.setattr(sedac_noise, "EXIT_RATES", (0.8,))
    monkeypatch.setattr(sedac_noise, "CALIBRATION_TOKENS", 2000)
    monkeypatch.setattr(sedac_noise, "TEST_TOKENS", 4000)


def test_without_noise_nobody_is_wrong_and_with_it_accumulation_is_so_less_often(small):
    rows = [row for found in sedac_noise.noise_study() for row in found]
    by_rule = {(row.rule, row.sigma): row for row in rows}
    for row in rows:
        assert row.exit_rate.mean == pytest.approx(0.8, abs=0.01), "equal exit rates"
        if row.sigma == 0:
            assert row.wrong.mean < 0.03, "only what sampling the thresholds leaves"
            assert row.saved.mean == pytest.approx(0, abs=1e-6)
    better = by_rule["accumulated, scale_quantile=0.95", 0.2]
    assert better.saved.low > 0
    assert sedac_noise.verdict(rows)[better.rule]["fewer"] == ["sigma 0.2, exit rate 0.8"]


def test_the_matched_rules_exit_equally_often_at_every_checkpoint():
    risk, _ = sedac_noise.tokens(3000, np.full(3, 0.3), seed=5)
    single, reached = sedac_noise.single_layer_rule(risk, np.array([0.2, 0.5, 0.8]))
    rule = sedac_noise.accumulated_rule(risk, reached, [0.8, 1.0, 1.2], [0.3, 0.4, 0.3])
    for checkpoint in range(3):
        counts = [(c.evaluate(risk).exit_layer == checkpoint).sum() for c in (single, rule)]
        assert counts[0] == counts[1] > 0


def test_the_study_writes_json_and_a_report_that_needs_no_network(small, tmp_path):
    pytest.importorskip("plotly", reason="plotly is not installed")
    json_file, report = tmp_path / "noise.json", tmp_path / "noise.html"
    arguments = ["sedac", "--json", str(json_file), "--report", str(report)]
    result = CliRunner().invoke(evaluate.app, arguments)
    assert result.exit_code == 0, result.output
    content = json.loads(json_file.read_text())
    assert len(content["noise"]) == 2 * 4
    assert [row["data"] for row in content["learned_weights"]] == list(sedac_noise.PROBES)
    assert {"verdict", "hardware", "versions", "commit"} <= set(content)
    text = report.read_text()
    assert "Plotly.newPlot" in text
    assert "<script src=" not in text
    assert "scale_quantile=0.95" in text


def test_recorded_probes_are_judged_on_their_held_out_half(tmp_path):
    risk, right = sedac_noise.tokens(6000, np.array([0.8, 0.4, 0.1]), seed=6)
    file = tmp_path / "probes.npz"
    np.savez(file, risk=risk, exit_right=right)
    row = sedac_noise.recorded_gain(file)
    assert row.data == "probes.npz"
    assert row.wrong_learned < row.wrong_default
    assert row.exits_learned > row.exits_default
    np.savez(file, risk=risk)
    with pytest.raises(KeyError, match="exit_right"):
        sedac_noise.recorded_gain(file)

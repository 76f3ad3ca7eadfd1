"""The study of early exit: its verdict, its page, and the commands' refusals."""

from __future__ import annotations

import pytest

for package in ("torch", "sedac_core", "pyarrow", "mujoco"):
    pytest.importorskip(package)

from typer.testing import CliRunner  # noqa: E402

from salus_ros.bench.early_exit import verdict  # noqa: E402
from salus_ros.bench.early_exit_report import write_report  # noqa: E402
from salus_ros.cli.errors import UserError  # noqa: E402
from salus_ros.cli.main import app  # noqa: E402


def error_row(saving, error, passes=True, kind="soft"):
    return {"saving": saving, "mean_error": error, "passes": passes, "kind": kind}


def study():
    interval = [0.7, 0.95]
    return {
        "setting": {"epsilon": 0.05},
        "errors": {
            "certified": error_row(0.4, 0.02),
            "hard": error_row(0.4, 0.1, False, "hard"),
            "single_layer": error_row(0.4, 0.2, False, "single_layer"),
            "fixed-0.75": error_row(0.7, 0.05, False, "fixed"),
        },
        "latency": {
            "off": {"cpu_p50": 0.02},
            "certified": {"cpu_p50": 0.018, "cpu_saved_interval": [0.001, 0.003]},
            "hard": {"cpu_p50": 0.018},
            "single_layer": {"cpu_p50": 0.018},
        },
        "success": {
            "off": {"success_rate": 0.9, "success_interval": interval},
            "certified": {
                "success_rate": 0.8,
                "success_interval": interval,
                "on_policy": {"passes": True},
            },
        },
    }


def judged(content):
    return verdict(content["errors"], content["latency"], content["success"])


def test_each_claim_is_judged_by_its_own_number():
    assert all(judged(study()).values())
    changes = {
        "saves_a_quarter_of_mlp_flops": ("errors", "certified", "saving", 0.2),
        "certified": ("errors", "certified", "passes", False),
        "latency_lower": ("latency", "certified", "cpu_saved_interval", [-0.001, 0.003]),
        "error_below_single_layer_at_equal_saving": ("errors", "single_layer", "mean_error", 0.01),
        "error_below_hard_at_equal_saving": ("errors", "hard", "mean_error", 0.01),
        "success_within_full_interval": ("success", "certified", "success_rate", 0.6),
        "certified_on_policy": ("success", "certified", "on_policy", {"passes": False}),
    }
    for claim, (part, setting, name, value) in changes.items():
        content = study()
        content[part][setting][name] = value
        assert [c for c, shown in judged(content).items() if not shown] == [claim]


def test_what_was_not_measured_is_not_judged():
    content = study()
    assert set(verdict({}, {}, content["success"])) == {
        "success_within_full_interval",
        "certified_on_policy",
    }


@pytest.mark.parametrize("success", [True, False])
def test_the_page_needs_no_network_and_names_the_settings(tmp_path, success):
    pytest.importorskip("plotly")
    content = study()
    if not success:
        content["success"] = {}
    write_report(tmp_path / "page.html", content)
    text = (tmp_path / "page.html").read_text()
    assert "fixed-0.75" in text and "<script src=" not in text
    assert ("task success" in text) == success


def test_an_unknown_method_is_refused_by_name(tmp_path):
    result = CliRunner().invoke(
        app, ["train", "early-exit", "--data", str(tmp_path), "--method", "magic"]
    )
    assert isinstance(result.exception, UserError)
    assert str(result.exception).startswith("method 'magic' is unknown; known: mask")


def test_a_folder_without_a_data_set_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["train", "early-exit", "--data", str(tmp_path)])
    assert isinstance(result.exception, UserError)
    assert "holds no data set" in str(result.exception)

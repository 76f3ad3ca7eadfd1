"""`salus bench signals`: that it runs and says what is asked of it; speed is not judged here."""

import json
import os

from typer.testing import CliRunner

from salus_ros.bench.signals import Course, agreement, bench_calibration, bench_config
from salus_ros.cli.main import app


def test_the_result_holds_what_is_asked(tmp_path):
    file, cores = tmp_path / "signals.json", os.sched_getaffinity(0)
    arguments = ["bench", "signals", "--steps", "1000", "--rounds", "1", "--json", str(file)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    result = json.loads(file.read_text())
    assert 0 < result["step_us"]["p50"] <= result["step_us"]["p99"]
    assert result["latent_width"] == 960
    assert {"hardware", "versions", "commit", "load_average", "scheduler"} <= set(result)
    assert os.sched_getaffinity(0) == cores


def test_the_forms_agree_and_all_signals_become_valid():
    found = agreement(Course.random(400, seed=3), bench_config(), bench_calibration())
    assert found["recording_largest_difference"] <= 1e-6
    assert found["same_validity"]
    assert found["all_valid_from_step"] == 3

"""Budgets, presets, the compiled file, energy rails: what is read, and what is refused."""

import math
import re
from types import SimpleNamespace

import pytest
import yaml
from command_line import invoke

from salus_ros.deploy import deployment as files
from salus_ros.deploy import machine
from salus_ros.deploy.axes import make_budget, parse_limits
from salus_ros.deploy.deployment import Deployment, read_deployment, write_deployment
from salus_ros.deploy.energy import RailMeter, find_rail
from salus_ros.deploy.frontier import choose
from salus_ros.deploy.job import Job
from salus_ros.deploy.levers import CompileError, Grid, Levers
from salus_ros.deploy.machine import busy, this_machine
from salus_ros.deploy.prediction_interval import prediction_interval
from salus_ros.deploy.presets import preset_budget, preset_names, read_preset
from salus_ros.deploy.verify import verify
from salus_ros.policy.flow import checkpoint

LEVERS = {
    "precision": "int8", "flow_steps": 5, "sampler": "traced", "early_exit": "off",
    "draft_steps": 0, "execution_horizon": 3,
}  # fmt: skip


def a_deployment(**changes):
    fields = {
        "policy": "flow", "options": {"checkpoint": "", "device": "cpu", "precision": "int8"},
        "execution_horizon": 3, "digest": "0" * 64, "axes": {"latency_p50": 10.0},
        "intervals": {"latency_p50": [9.0, 11.0]}, "levers": LEVERS,
        "budget": {"minimize": "rmse", "limits": {}},
        "plan": {"inputs": 8, "calls": 10, "processes": 2}, "hardware": this_machine(),
        "versions": {}, "commit": "none",
    }  # fmt: skip
    return Deployment(**{**fields, **changes})


def test_a_compiled_file_comes_back_as_it_was(tmp_path):
    file = tmp_path / "deploy.yaml"
    write_deployment(file, a_deployment())
    assert read_deployment(file) == a_deployment()


def test_other_hardware_is_said_and_the_same_is_not():
    assert a_deployment().other_hardware() == ""
    elsewhere = a_deployment(hardware={**this_machine(), "cpu": "an Orin", "cores": 6})
    assert "cpu was an Orin" in elsewhere.other_hardware()
    assert "run `salus compile` on this machine" in elsewhere.other_hardware()


def test_other_weights_are_refused(tmp_path):
    with pytest.raises(CompileError, match="other weights"):
        a_deployment().check_weights()
    with pytest.raises(CompileError, match="is not there"):
        a_deployment(options={"checkpoint": str(tmp_path)}).check_weights()
    assert files.WEIGHTS["flow"] == checkpoint.WEIGHTS
    assert files.SHIPPED == checkpoint.SHIPPED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no file of `salus compile`"),
        ("[1, 2]", "no file of `salus compile`"),
        ("format: 99", "no file of `salus compile`"),
        ("format: 1", "doesn't fit"),
        ("format: 1\npolicy: [", "no YAML"),
        ("\x00", "no YAML"),
    ],
)
def test_garbled_files_are_one_line(tmp_path, text, said):
    file = tmp_path / "deploy.yaml"
    file.write_text(text)
    with pytest.raises(CompileError, match=said):
        read_deployment(file)


def test_a_horizon_that_is_no_count_is_refused(tmp_path):
    file = tmp_path / "deploy.yaml"
    write_deployment(file, a_deployment())
    content = yaml.safe_load(file.read_text())
    for bad in (0, -1, True, "three", 1.5):
        file.write_text(yaml.safe_dump({**content, "execution_horizon": bad}))
        with pytest.raises(CompileError, match="garbled"):
            read_deployment(file)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("plan", "inputs", "many"),
        ("hardware", "cores", None),
        ("levers", "flow_steps", "ten"),
        ("levers", "magic", 1),
        ("axes", "latency_p50", "fast"),
        ("intervals", "latency_p50", [3.0]),
        ("intervals", "latency_p50", [3.0, 2.0]),
        ("intervals", "latency_p50", "short"),
    ],
)
def test_a_hand_edited_value_is_named(tmp_path, part, name, value):
    file = tmp_path / "deploy.yaml"
    write_deployment(file, a_deployment())
    content = yaml.safe_load(file.read_text())
    content[part][name] = value
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(CompileError, match=re.escape(f"{name} is {value!r}")):
        read_deployment(file)


def test_a_file_without_what_is_to_be_verified_is_refused():
    with pytest.raises(CompileError, match="has no .*rmse"):
        verify(a_deployment(), None)


def test_presets_are_budgets():
    assert set(preset_names()) == {"fastest", "smallest", "under_16_mb", "30_hz", "10_hz_cpu"}
    for name in preset_names():
        assert preset_budget(read_preset(name)).limits


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits: {rmse: 1}", "doesn't say what to minimize"),
        ("minimize: speed", "unknown axis 'speed'"),
        ("minimize: rmse\nlimits: {rmse: low}", "is no number"),
        ("minimize: rmse\nlimits: {rmse: .nan}", "finite"),
        ("minimize: rmse\nlimits: [1]", "give axes"),
        ("minimize: rmse\ngoal: 3", "unknown key 'goal'"),
        ("{", "no YAML"),
    ],
)
def test_presets_that_are_none_are_one_line(tmp_path, text, said):
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(CompileError, match=said):
        read_preset(str(file))


def test_a_budget_that_cannot_be_met_tells_which_limit_binds_and_by_how_much():
    slow = {"latency_p99": 40.0, "rmse": 0.0, "weights_mb": 8.0, "latency_p50": 30.0}
    rough = {"latency_p99": 20.0, "rmse": 0.9, "weights_mb": 2.0, "latency_p50": 15.0}
    budget = make_budget("weights_mb", {"latency_p99": 33.0, "rmse": 0.05})
    choice = choose([(slow, {}), (rough, {})], budget)
    assert choice.best is None
    assert choice.binding == {
        "axis": "latency_p99", "limit": 33.0, "nearest": 0, "value": 40.0, "by": 7.0,
    }  # fmt: skip


def test_a_limit_holds_only_where_the_whole_interval_does():
    axes = {"latency_p50": 30.0, "latency_p99": 32.0, "weights_mb": 1.0}
    budget = make_budget("weights_mb", {"latency_p99": 33.0})
    assert choose([(axes, {"latency_p99": [31.0, 32.9]})], budget).best == 0
    assert choose([(axes, {"latency_p99": [31.0, 35.0]})], budget).best is None


def test_a_limit_on_what_is_unknown_is_never_met():
    axes = {"latency_p50": 30.0, "weights_mb": 1.0, "energy": "unknown"}
    choice = choose([(axes, {})], make_budget("weights_mb", {"energy": 5.0}))
    assert choice.best is None
    assert choice.binding["value"] == "unknown"
    assert choose([(axes, {})], make_budget("energy", {})).binding["axis"] == "energy"


def test_presets_for_several_devices_are_refused(tmp_path):
    files = []
    for device in ("cpu", "cuda"):
        files += ["--preset", str(tmp_path / f"{device}.yaml")]
        (tmp_path / f"{device}.yaml").write_text(f"minimize: rmse\ndevice: {device}\n")
    code, text = invoke("compile", *files)
    assert code == 1
    assert "presets are for devices cpu, cuda" in text


def test_levers_keep_their_order_however_they_are_asked_for():
    """The first value is what changes are counted from."""
    grid = Grid({"flow_steps": (10, 5, 2), "precision": ("float32", "int8")})
    wanted = {"flow_steps": ["2", "10", "2"], "precision": ["int8", "float32"]}
    found = grid.restricted(wanted).values
    assert found == {"flow_steps": (10, 2), "precision": ("float32", "int8")}


@pytest.mark.parametrize(("name", "other"), [("DRIVER", "version"), ("SOURCES", ("*.py",))])
def test_what_was_measured_with_other_code_is_measured_again(tmp_path, monkeypatch, name, other):
    job = Job("flow", "cpu", 2, 10, 2, {}, tmp_path)
    job.subject = SimpleNamespace(name="flow", digest="0", context="", device="cpu")
    job._cache({}, {}).put("screen", Levers(), {"value": 1})
    assert job._cache({}, {}).get("screen", Levers()) == {"value": 1}
    (tmp_path / "version").write_text("another driver")
    monkeypatch.setattr(machine, name, tmp_path / other if name == "DRIVER" else other)
    assert job._cache({}, {}).get("screen", Levers()) is None


def test_limits_of_the_command_line():
    assert parse_limits(["rmse=0.05", "staleness=0"], ["cosine=0.9"]) == {
        "rmse": 0.05, "staleness": 0.0, "cosine": 0.9,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max", "speed=3"], "unknown axis 'speed'; known: latency_p50"),
        (["--max", "rmse=small"], "give AXIS=NUMBER"),
        (["--max", "rmse"], "give AXIS=NUMBER"),
        (["--max", "cosine=1"], "cosine is limited with --min"),
        (["--min", "rmse=1"], "rmse is limited with --max"),
        (["--minimize", "cosine"], "minimise rmse"),
        (["--lever", "magic=1"], "unknown lever 'magic'"),
        (["--lever", "precision"], "NAME=VALUE"),
        (["--minimize", "rmse", "--preset", "fastest"], "either --minimize or --preset"),
        (["--preset", "nowhere"], "one of 10_hz_cpu"),
        (["--preset", "10_hz_cpu", "--device", "cuda"], "is for device cpu"),
        (["--policy", "scripted_expert"], "neither flow, reference, nor a folder"),
        (["--device", "tpu"], "cpu or cuda"),
        (["--staleness-study", "nowhere.json"], "no result of `salus evaluate staleness`"),
        (["--verify", "nowhere.yaml"], "can't be read"),
    ],
)
def test_wrong_options_are_one_line(arguments, said):
    code, text = invoke("compile", *arguments)
    assert code == 1
    assert said in text


def test_an_interval_is_wide_where_processes_differ():
    middle, low, high = prediction_interval([10.0, 10.1, 9.9, 10.0, 10.0])
    assert low < 9.9 < middle < 10.1 < high
    assert high / low < 1.2
    _, low, high = prediction_interval([10.0, 14.0, 9.0, 12.0, 10.0])
    assert high / low > 2.0
    assert prediction_interval([10.0])[2] == math.inf


def test_the_rail_of_a_jetson_is_found_and_counted(tmp_path):
    """The files that the kernel's ina3221 driver makes."""
    chip = tmp_path / "hwmon3"
    chip.mkdir()
    for number, label, current in ((1, "VDD_IN", 2000), (2, "VDD_CPU_GPU_CV", 1)):
        (chip / f"in{number}_label").write_text(f"{label}\n")
        (chip / f"in{number}_input").write_text("5000\n")
        (chip / f"curr{number}_input").write_text(f"{current}\n")
    rail = find_rail(tmp_path)
    assert rail.watts() == pytest.approx(10.0)
    rail.start()
    assert rail.stop() >= 0.0


def test_a_rail_that_is_lost_meanwhile_tells_nothing(tmp_path):
    files = tmp_path / "in1_input", tmp_path / "curr1_input"
    for file in files:
        file.write_text("5000\n")
    rail = RailMeter(*files)
    rail.start()
    files[1].unlink()
    assert rail.stop() is None


def test_without_a_rail_there_is_none(tmp_path):
    assert find_rail(tmp_path) is None


def test_a_busy_machine_is_said():
    assert busy(2.6, 2) == ""
    assert "load average 14 on 2 cores" in busy(14.0, 2)

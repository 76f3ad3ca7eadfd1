"""`salus bench gate` without its graph: figures from records, what is timed, wrong options."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from salus_ros.bench.gate import bounds, collect
from salus_ros.bench.gate_profile import PROFILED, Profile, find
from salus_ros.bench.gate_record import Recording, Stamps
from salus_ros.bench.gate_statistics import SETTLING, figures, periods, setting_figures

needs_ros = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("salus_msgs") is None, reason="needs ROS: make build"
)
MS = 1_000_000


def regular(count, period=10 * MS, begin=0):
    return [begin + k * period for k in range(count)]


def recording(published, **changes):
    span = (published[0] - SETTLING, published[-1] + 1)
    each = {"own": 150_000, "publish": 40_000, "cpu": 200_000, "wall": 250_000, "ahead": 90_000}
    ticks = {name: [time] * len(published) for name, time in each.items()}
    return Recording(published, following=[1] * len(published), spans=[span], **ticks, **changes)


def test_periods_are_those_of_normal_work_alone():
    """Neither what lies between two activations nor the first moments of one."""
    first, second = regular(100), regular(100, begin=5000 * MS)
    spans = [(0, first[-1] + 1), (second[0] - SETTLING, second[-1] + 1)]
    found = periods([*first, *second], spans)
    assert len(found) == (100 - SETTLING // (10 * MS) - 1) + 99
    assert set(found.tolist()) == {10 * MS}


def test_ratios_hold_the_supervisor_against_the_bare_node_in_the_same_time():
    late = regular(300)
    late[200] += 5 * MS
    ours = recording(late, chunk_ticks=[1, 1, 2], chunks=4)
    bare = Recording(regular(400))
    found = setting_figures(ours, bare, 100)
    assert found["periods"] == {"supervisor": 299, "bare": 299}
    assert found["period_ms"]["supervisor"]["max"] == 15.0
    assert found["ratios"]["max"] == 1.5 and found["ratios"]["p50"] == 1.0
    assert found["new_chunk_ticks"]["counts"] == {"1": 2, "2": 1}
    assert found["tick_us"]["p99"] == 150.0 and found["publish_us"]["p99"] == 40.0
    assert found["tick_whole_us"]["p99"] == 200.0 and found["tick_wall_us"]["p99"] == 250.0
    assert found["work_ahead_us"]["p99"] == 90.0


def test_too_few_periods_are_no_figure():
    with pytest.raises(ValueError, match="too few"):
        setting_figures(recording(regular(50)), Recording(regular(50)), 100)


def test_quantiles_are_of_all_values():
    found = figures([*range(1, 1001)], 1)
    assert found == {"p50": 500.5, "p99": 990.01, "p999": 999.001, "max": 1000.0}


def test_a_record_survives_its_file(tmp_path):
    stamps = Stamps(capacity=3)
    for time in range(5):
        stamps.add(time)
    sent = Recording(stamps.to_list(), spans=[(1, 2)], profile={"tick": {"a": [1]}})
    sent.save(tmp_path / "record.json")
    assert sent.published == [0, 1, 2]
    assert Recording.load(tmp_path / "record.json") == sent


@needs_ros
def test_results_have_the_names_that_others_read():
    from salus_ros.bench.gate_run import Measured, Setting

    measured = Measured(recording(regular(600, 2 * MS)), Recording(regular(600, 2 * MS)), {})
    profile = Measured(recording(regular(200), profile={"tick": {"a": [1000]}}), None, {})
    plain = {Setting(500, fifo): measured for fifo in (True, False)}
    idle = {Setting(500, True, busy=False): measured}
    found = collect({**plain, **idle, Setting(500, True, profile=True): profile}, 15.0)
    assert found["idle_cores"]["tick_us"]["p99"] == 150.0 and len(found["bounds"]) == 7
    assert (found["idle_cores"]["rate"], found["idle_cores"]["scheduler"]) == (500, "fifo")
    assert found["scheduler"] == "fifo"
    assert found["ratios"]["period_p99_500hz"] == 1.0 == found["ratios"]["period_p999_500hz"]
    assert found["tick_us"]["by_check"]["tick"]["a"]["p50"] == 1.0
    assert all(bound["met"] for bound in found["bounds"] if "chunk" not in bound["name"])
    json.dumps(found, allow_nan=False)


def test_a_bound_without_a_figure_is_missed():
    figures_ = {
        "ratios": {"p99": 1.21},
        "tick_us": {"p99": 299.0},
        "new_chunk_ticks": {"max": None},
        "p999_of_nominal": 1.2,
    }
    found = {b["name"]: b["met"] for b in bounds({"fifo": {"rates": {"500hz": figures_}}})}
    assert sorted(found.values()) == [False, False, True, True]


@needs_ros
@pytest.mark.parametrize("place", PROFILED.values(), ids=PROFILED)
def test_what_is_timed_is_there(place):
    """Fails where a callable of the gate was renamed: then gate_profile.PROFILED must follow."""
    owner, attribute = find(place)
    assert callable(getattr(owner, attribute))


@needs_ros
def test_callables_are_timed_while_the_profile_is_open_and_as_before_after():
    from salus_ros.supervision import chunk_checks, modes

    original, check = modes.ModeMachine.update, chunk_checks.check_finite
    with Profile() as profile:
        assert modes.ModeMachine.update is not original
        with pytest.raises(TypeError, match="isfinite"):
            chunk_checks.check_finite("no numbers", [float("nan")])
        profile.flush("chunk")
    assert modes.ModeMachine.update is original and chunk_checks.check_finite is check
    ((name, (time,)),) = profile.times["chunk"].items()
    assert name == "chunk: 2 finite" and time > 0


@needs_ros
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--rates", "fast"], "error: --rates 'fast': give numbers from 10 to 1000"),
        (["--rates", "100,2000"], "give numbers from 10 to 1000"),
        (["--scheduler", "best"], "error: --scheduler 'best': give fifo, default or both"),
        (["--config", "nowhere"], "no such configuration file"),
    ],
)
def test_a_wrong_option_is_one_line(options, says):
    command = [sys.executable, "-m", "salus_ros.cli.main", "bench", "gate", *options]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    assert result.returncode == 2
    assert says in result.stderr and result.stderr.count("\n") == 1

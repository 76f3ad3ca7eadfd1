"""What the demo reports of timing."""

import pytest

from salus_ros.cli.demo_statistics import ControlStatistics

PERIOD = 10_000_000


def statistics(written):
    result = ControlStatistics(PERIOD)
    for index, time in enumerate(written):
        result.on_command(index * PERIOD, time)
    return result


def test_a_steady_stream_misses_nothing():
    control = statistics([i * PERIOD for i in range(1000)]).control()
    assert control["rate_hz"] == 100.0
    assert control["missed_deadline_fraction"] == 0.0


def test_a_late_command_is_one_missed_deadline():
    late = [i * PERIOD + (6_000_000 if i == 500 else 0) for i in range(1001)]
    control = statistics(late).control()
    assert control["missed_deadline_fraction"] == pytest.approx(1 / 1000)
    assert control["period_max_ms"] == 16.0


def test_commands_lost_on_the_way_and_new_activations_are_no_periods():
    result = ControlStatistics(PERIOD)
    for stamp in (0, 1, 2, 5, 6, 1000, 1001):
        result.on_command(stamp * PERIOD, stamp * PERIOD)
    assert len(result.periods) == 4


def test_latency_counts_each_chunk_once():
    result = ControlStatistics(PERIOD)
    for chunk, age in ((1, 0.02), (1, 0.03), (2, 0.04), (2, 0.05)):
        result.on_plan("a", chunk, age)
    result.on_plan("", 0, -1.0)
    assert result.latencies == [0.02, 0.04]
    assert result.latency_ms()["p50"] == 30.0


def test_nothing_measured_is_said_as_unknown():
    empty = ControlStatistics(PERIOD)
    assert empty.control()["rate_hz"] is None
    assert empty.latency_ms() == {"p50": None, "p99": None}
    assert empty.recent_rate() == 0.0

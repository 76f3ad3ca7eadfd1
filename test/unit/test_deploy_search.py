"""The search on a real, tiny policy: what it measures, leaves out, keeps, and never returns."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from flow_policies import observation, saved

from salus_ros.deploy import measure
from salus_ros.deploy.axes import make_budget
from salus_ros.deploy.cache import Cache
from salus_ros.deploy.flow_subject import FlowSubject
from salus_ros.deploy.levers import CompileError, Levers
from salus_ros.deploy.measure import Plan, screen
from salus_ros.deploy.outcome import conclude, configurations
from salus_ros.deploy.search import PARITY, Search
from salus_ros.deploy.worker import in_fresh_process, in_this_process
from salus_ros.policy.description import sha256
from salus_ros.policy.flow.checkpoint import WEIGHTS
from salus_ros.policy.quantization.linear import LowBitLinear

FEW = {
    "precision": ["float32", "int8"],
    "flow_steps": ["2"],
    "draft_steps": ["0", "1"],
    "sampler": ["eager"],
}


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    saved(
        folder,
        width=64,
        mlp_width=64,
        expert_mlp_width=64,
        expert_layers=1,
        layers=1,
        steps=2,
        samples=2,
    )
    return FlowSubject(
        checkpoint=str(folder), device="cpu", digest=sha256(folder / WEIGHTS), rows=32,
        time_step=1 / 30, steps=2, exits=(), why_no_exits="none fitted",
        observations=tuple(observation(seed=seed) for seed in range(3)),
    )  # fmt: skip


@pytest.fixture
def search(subject, tmp_path):
    return a_search(subject, tmp_path)


def a_search(subject, folder, runner=in_this_process):
    grid = subject.grid().restricted(FEW)
    cache = Cache(folder, {"digest": subject.digest})
    return Search(subject, grid, Plan(calls=4, processes=2), cache, runner=runner)


def outcome(found, subject):
    horizons = subject.grid().values["execution_horizon"]
    return configurations(found, horizons, subject.time_step, subject.rows)


def test_every_configuration_is_measured_or_has_a_reason(search, subject):
    found = outcome(search.run(), subject)
    measured = [e for e in found if not e["left_out"]]
    assert measured
    for entry in measured:
        axes = entry["axes"]
        assert axes["latency_p99"] >= axes["latency_p50"] > 0.0
        low, high = entry["intervals"]["latency_p50"]
        assert low < axes["latency_p50"] < high
        assert axes["energy"] == "unknown"
        horizon = entry["levers"]["execution_horizon"]
        assert axes["staleness"] == horizon - 1
        assert axes["action_latency_p50"] == pytest.approx(axes["latency_p50"] / horizon)
    full = next(e for e in measured if Levers(**e["levers"]) == subject.grid().full)
    assert full["axes"]["rmse"] == 0.0
    assert full["axes"]["cosine"] == pytest.approx(1.0)


def test_the_full_policy_is_timed_also_where_another_beats_it(subject, tmp_path):
    def slow_in_full(function, *arguments):
        result = in_this_process(function, *arguments)
        if function is screen and arguments[1] == subject.grid().full:
            for name in ("latency_p50", "latency_p99"):
                result["value"][name] *= 10.0
        return result

    found = a_search(subject, tmp_path, slow_in_full).run()
    assert next(c for c in found if c.levers == subject.grid().full).measured


def test_fewer_bits_weigh_less_and_differ_a_little(subject):
    full = measure.full_chunks(subject)
    found = {
        p: screen(subject, Levers(precision=p, flow_steps=2), full)
        for p in ("float32", "int8", "int4")
    }
    sizes = [found[p]["weights_mb"] for p in ("float32", "int8", "int4")]
    assert sizes == sorted(sizes, reverse=True)
    assert 0.0 == found["float32"]["rmse"] < found["int8"]["rmse"] < found["int4"]["rmse"] < 0.3
    assert all(f["parity"]["passed"] for f in found.values())


def test_a_broken_kernel_is_never_returned(search, subject, monkeypatch):
    """The kernel forgets the last group of inputs; its exact twin doesn't have that kernel."""
    whole = LowBitLinear.forward

    def broken(layer, x):
        cut = x.clone()
        cut[..., -8:] = 0.0
        return whole(layer, cut)

    monkeypatch.setattr(LowBitLinear, "forward", broken)
    found = outcome(search.run(), subject)
    int8 = [e for e in found if e["levers"]["precision"] == "int8"]
    assert int8
    assert all(PARITY in e["left_out"] for e in int8)
    told = conclude(found, make_budget("weights_mb", {}))
    assert found[told["best"]]["levers"]["precision"] == "float32"


def test_the_gate_is_tried_with_a_kernel_that_is_broken_on_purpose(search):
    search.run()
    assert search.gate_refused is True


def test_a_gate_that_lets_a_broken_kernel_through_ends_the_run(search, monkeypatch):
    monkeypatch.setattr(measure, "break_kernel", lambda _module: True)
    with pytest.raises(CompileError, match="broken on purpose"):
        search.run()


def test_chunks_that_are_not_finite_fail_the_gate(subject):
    full = measure.full_chunks(subject)
    found = measure.parity(np.full_like(full, np.nan), full, torch.float32)
    assert not found.passed


def test_what_was_measured_is_not_measured_again(subject, tmp_path):
    runs = []

    def counting(function, *arguments):
        runs.append(function.__name__)
        return in_this_process(function, *arguments)

    a_search(subject, tmp_path, counting).run()
    first = len(runs)
    again = a_search(subject, tmp_path, counting)
    again.run()
    assert first > 5
    assert runs[first:] == ["full_chunks"]
    assert again.gate_refused is True


def test_an_interrupted_search_goes_on(subject, tmp_path):
    left = [4]

    def interrupted(function, *arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return in_this_process(function, *arguments)

    with pytest.raises(KeyboardInterrupt):
        a_search(subject, tmp_path, interrupted).run()
    (file,) = tmp_path.glob("*.jsonl")
    whole = file.read_text()
    file.write_text(whole + '{"name": "screen: {\\"precis')  # the line that was being written
    kept = len(Cache(tmp_path, {"digest": subject.digest}))
    assert kept == 3
    left[0] = 1000
    assert any(c.measured for c in a_search(subject, tmp_path, interrupted).run())


def test_out_of_memory_in_one_configuration_is_recorded_and_the_search_goes_on(subject, tmp_path):
    def short_of_memory(function, *arguments):
        levers = arguments[1] if len(arguments) > 1 else None
        if function is screen and levers.draft_steps:
            return in_this_process(_allocate_too_much)
        return in_this_process(function, *arguments)

    found = outcome(a_search(subject, tmp_path, short_of_memory).run(), subject)
    drafts = [e for e in found if e["levers"]["draft_steps"]]
    assert drafts
    assert all("out of memory" in e["left_out"] for e in drafts)
    assert any(not e["left_out"] for e in found)


def _allocate_too_much():
    return torch.empty(1 << 50)


def test_a_process_that_the_system_kills_is_recorded():
    assert "out of memory" in in_fresh_process(_killed)["problem"]
    assert in_fresh_process(sum, [1, 2]) == {"value": 3}


def _killed():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_precision_that_does_not_run_is_left_out_with_the_reason(subject, tmp_path, monkeypatch):
    from salus_ros.policy.quantization import precision
    from salus_ros.policy.quantization.packing import QuantizationError

    def no_kernel(*_):
        raise QuantizationError("no kernel for this machine")

    monkeypatch.setattr(precision, "_packed", no_kernel)
    search = a_search(subject, tmp_path)
    found = outcome(search.run(), subject)
    assert search.gate_refused is None
    int8 = [e for e in found if e["levers"]["precision"] == "int8"]
    assert all("no kernel for this machine" in e["left_out"] for e in int8)


def test_a_policy_that_does_not_run_at_all_is_one_line(subject, tmp_path):
    gone = replace(subject, checkpoint=str(tmp_path / "gone"))
    with pytest.raises(CompileError, match=r"doesn't run in full: no policy\.json"):
        a_search(gone, tmp_path).run()


def test_the_file_of_a_cache_names_what_it_is_of(subject, tmp_path):
    a_search(subject, tmp_path)
    (file,) = tmp_path.glob("*.jsonl")
    assert json.loads(file.read_text())["key"] == {"digest": subject.digest}


class FakeMeter:
    """Counts a joule for each call that was made meanwhile."""

    def __init__(self, calls):
        self.calls = calls

    def start(self):
        self.before = len(self.calls)

    def stop(self):
        return float(len(self.calls) - self.before)


def test_energy_is_counted_over_seconds_of_calls_not_over_a_few(monkeypatch):
    """A GPU's counter goes on ten times a second: a few fast calls would cost nothing."""
    calls, times = [], iter(range(10_000))
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(times) / 100)
    assert measure._joules_a_call(calls.append, FakeMeter(calls)) == 1.0
    assert len(calls) >= 0.9 * measure.METERED * 100
    assert measure._joules_a_call(calls.append, None) is None

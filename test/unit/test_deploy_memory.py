"""Peak memory of a process: what a policy needs to run, wherever malloc put it."""

import resource
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from salus_ros.deploy.levers import Levers
from salus_ros.deploy.measure import Plan, time_calls
from salus_ros.deploy.worker import in_fresh_process
from salus_ros.policy import allocation
from salus_ros.policy.allocation import OWN_CHOICE, TUNABLES, freed_at_once

MB = 1_000_000
FULL, PASSES, LATER = 160, 60, 100
"""Megabytes of the fake policy: weights in full, small things of a moment, and what stays."""


class FakeBuilt:
    def __init__(self):
        bytearray(b"\1") * (30 * MB)  # a file of weights: freed, so malloc raises its bound
        full, self.low = [], []
        for _ in range(FULL // 4):
            full.append(bytearray(b"\1") * (4 * MB))
            self.low.append(bytearray(b"\1") * (4 * MB // 10))
        full.clear()
        passes = [bytearray(b"\1") * 60_000 for _ in range(PASSES * MB // 60_000)]
        self.graph = passes[::20]
        # Each is larger than a hole between two converted weights.
        self.later = [bytearray(b"\1") * (5 * MB) for _ in range(LATER // 5)]

    def __call__(self, _number):
        return np.zeros((2, 2))

    def warm_up(self):
        pass


class FakeSubject:
    device, inputs = "cpu", 2

    def build(self, _levers):
        return FakeBuilt()


def held(name):
    """VmRSS now, VmHWM at most."""
    line = next(li for li in Path("/proc/self/status").read_text().splitlines() if name in li)
    return int(line.split()[1]) * 1024 / MB


def peak_of_build():
    before = held("VmRSS")
    with freed_at_once():
        FakeBuilt()
    return held("VmHWM") - before


def peak_of_calls():
    before = held("VmRSS")
    return time_calls(FakeSubject(), Levers(), Plan(calls=2))["peak_memory_mb"] - before


def faults_of_calls():
    with freed_at_once():
        pass
    bytearray(b"\1") * (8 * MB)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        bytearray(b"\1") * (8 * MB)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.fixture(autouse=True)
def _malloc_as_it_comes(monkeypatch):
    for name in (*OWN_CHOICE, TUNABLES):
        monkeypatch.delenv(name, raising=False)


def test_peak_memory_is_what_calls_need_not_what_the_build_did():
    """Converted weights (16 MB), less than half of the small things, and what stays."""
    peak = in_fresh_process(peak_of_calls)["value"]
    assert LATER < peak < LATER + FULL / 10 + PASSES / 2


def test_a_build_does_not_hold_its_full_weights_when_the_rest_is_made():
    peak = in_fresh_process(peak_of_build)["value"]
    assert FULL < peak < FULL + LATER / 2


def test_calls_find_their_buffers_in_the_heap():
    """20 buffers of 8 MB are 39 000 pages, were each new from the system."""
    assert in_fresh_process(faults_of_calls)["value"] < 1000


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MALLOC_MMAP_THRESHOLD_", "65536", False),
        ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=65536", False),
        ("GLIBC_TUNABLES", "glibc.pthread.rseq=0", True),
    ],
)
def test_a_users_own_settings_of_malloc_stay(monkeypatch, name, value, told):
    calls = []
    library = SimpleNamespace(mallopt=lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(allocation.ctypes, "CDLL", lambda _: library)
    monkeypatch.setenv(name, value)
    with freed_at_once():
        pass
    assert bool(calls) is told

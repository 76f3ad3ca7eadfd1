"""Short slices of the default scheduler, as the kernel tells of them."""

import threading
from pathlib import Path

import pytest

from salus_ros.nodes import realtime


def slices():
    """Of each thread of this process [ns]; skips where the kernel has none of one's own."""
    found = []
    for path in Path("/proc/self/task").glob("*/sched"):
        found += [line.split(":")[1] for line in path.read_text().splitlines() if "slice" in line]
    if not found:
        pytest.skip("this kernel doesn't tell of slices")
    return [float(value) for value in found]


@pytest.fixture
def another_thread():
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    yield
    done.set()
    thread.join()


def test_all_threads_ask_for_short_slices_and_give_them_back(another_thread):
    before = slices()
    assert len(before) > 1 and realtime.SHORT_SLICE not in before
    realtime.use_short_slices()
    try:
        if slices() == before:
            pytest.skip("this kernel gives no slices of one's own (Linux 6.12 does)")
        assert set(slices()) == {realtime.SHORT_SLICE}
    finally:
        realtime.use_default_scheduling()
    assert realtime.SHORT_SLICE not in slices()

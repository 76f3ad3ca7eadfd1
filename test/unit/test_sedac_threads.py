"""Many threads: no update is lost, no evaluation sees half of one, nobody holds the GIL."""

import multiprocessing
import sys
import threading
import time
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:sedac_core runs on its slower numpy fallback")

THREADS = 8


@pytest.fixture(params=["sedac_core._core", "sedac_core.fallback"])
def sedac(request: pytest.FixtureRequest) -> ModuleType:
    return pytest.importorskip(request.param, reason="the Rust core is not built: make build")


def in_threads(work: Callable[[int], None], threads: int = THREADS) -> None:
    """Run the work in threads that start together, and raise what any of them raised."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(threads)

    def guarded(index: int) -> None:
        barrier.wait()
        try:
            work(index)
        except BaseException as failure:
            failures.append(failure)

    started = [threading.Thread(target=guarded, args=(index,)) for index in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    if failures:
        raise failures[0]


def test_no_concurrent_update_is_lost(sedac):
    controller = sedac.CascadeController(alpha=0.001, calibration_steps=4, calibration_window=64)
    controller.update_thresholds(np.full((3, 4), 1.0, np.float32))
    updates, batch = 100, np.full(5, 2.0, np.float32)
    in_threads(lambda _: [controller.update_threshold(1, batch) for _ in range(updates)])
    # Each update takes a thousandth of the way from 1 to 2, in whatever order they come.
    expected = 2.0 - 0.999 ** (THREADS * updates)
    assert controller.thresholds == pytest.approx([1.0, expected, 1.0], abs=1e-9)


def test_no_call_goes_uncounted(sedac):
    controller, risk = sedac.CascadeController(), np.zeros((3, 7), np.float32)
    in_threads(lambda _: [controller.evaluate(risk) for _ in range(50)])
    stats = controller.stats
    assert (stats["calls"], stats["tokens"]) == (THREADS * 50, THREADS * 50 * 7)
    assert stats["exits_per_layer"] == {7: THREADS * 50 * 7, 14: 0, 21: 0}


def test_an_evaluation_sees_all_of_an_update_or_none(sedac, tmp_path):
    layer = sedac.LayerConfig
    files, outcomes = [], []
    risk = np.random.default_rng(0).uniform(0, 1, (3, 200)).astype(np.float32)
    for scale in (0.5, 2.0):
        layers = [layer(i, 0.3, scale, scale) for i in range(3)]
        controller = sedac.CascadeController(layers)
        files.append(tmp_path / f"{scale}.json")
        controller.save(files[-1])
        outcomes.append(controller.evaluate(risk).accumulated_confidence.tolist())
    assert outcomes[0] != outcomes[1]

    def work(index: int) -> None:
        for n in range(60):
            if index == 0:
                controller.load(files[n % 2])
            else:
                assert controller.evaluate(risk).accumulated_confidence.tolist() in outcomes

    in_threads(work, threads=4)


def test_evaluations_go_on_while_others_update(sedac):
    controller = sedac.CascadeController(calibration_window=256)
    samples = np.random.default_rng(1).uniform(0, 2, (3, 64)).astype(np.float32)
    controller.update_thresholds(samples)

    def work(index: int) -> None:
        for _ in range(40):
            if index % 2:
                controller.update_thresholds(samples)
            else:
                out = controller.evaluate(samples)
                assert ((out.soft_exit_ratio > 0) == out.should_exit).all()

    in_threads(work)


# A machine that is busy elsewhere may not get to this thread within one call.
ATTEMPTS = 100


@pytest.mark.parametrize("call", ["evaluate", "step"])
def test_another_python_thread_runs_during_batch_work(sedac, call):
    batch = 2_000_000
    controller, risk = sedac.CascadeController(), np.full((3, batch), 0.5, np.float32)
    out, ratio = sedac.ExitArrays(batch), np.empty(batch, np.float32)

    def work() -> None:
        if call == "evaluate":
            controller.evaluate(risk, out=out)
        else:
            controller.begin(batch).step(0, risk[0], out=ratio)

    assert any(_another_runs_during(work) for _ in range(ATTEMPTS))


def _another_runs_during(work: Callable[[], None]) -> bool:
    """Whether this thread got the interpreter's lock while another did the work.

    Without forced switches a thread only gets the lock when another gives it up.
    """
    inside, done = threading.Event(), threading.Event()

    def worker() -> None:
        inside.set()
        work()
        done.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    thread, progress = threading.Thread(target=worker), 0
    try:
        thread.start()
        while not done.is_set():
            progress += inside.is_set()
            time.sleep(0)  # gives up the lock; waits for nothing
    finally:
        thread.join()
        sys.setswitchinterval(interval)
    return progress > 0


def evaluate_large(connection, name: str) -> None:
    module = sys.modules[name]
    risk = np.zeros((3, 300_000), np.float32)
    connection.send(int(module.CascadeController().evaluate(risk).should_exit.sum()))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
def test_a_forked_child_has_its_own_threads(sedac):
    sedac.CascadeController().evaluate(np.zeros((3, 300_000), np.float32))
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=evaluate_large, args=(theirs, sedac.__name__))
    child.start()
    assert ours.poll(60), "the child waits for threads that only its parent has"
    assert ours.recv() == 300_000
    child.join()

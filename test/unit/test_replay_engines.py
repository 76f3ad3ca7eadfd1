"""Batches of bags on real workers, one of which is killed in the middle."""

import os
import signal
from pathlib import Path

import pytest

from salus_ros.replay.bag_result import BagResult, ReplayOptions
from salus_ros.replay.batch import Failure, run_batch, work

pytest.importorskip("distributed", reason="needs Dask: pip install distributed")

from salus_ros.bench.replay import recorded_bags
from salus_ros.bench.replay_batch import make_batch
from salus_ros.replay.dask_engine import connected, run_on_dask

BAGS = 12
POISON = "bag_00005"


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """A dozen short bags."""
    folder = tmp_path_factory.mktemp("batch")
    bags, _ = make_batch(recorded_bags(folder / "episodes", 1), folder, BAGS)
    return bags


def dying_once(bag, options):
    """As `work`, but the first worker that gets one certain bag dies of it."""
    mark = bag.with_suffix(".tried")
    if bag.name == POISON and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return work(bag, options)


def deadly(bag, options):
    """One bag kills every worker."""
    if bag.name == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    return work(bag, options)


def test_a_killed_worker_costs_no_bag_and_counts_none_twice(batch):
    """The results are those of one process, bag by bag."""
    told = []
    with connected("", 2) as client:
        answers = run_on_dask(client, batch, ReplayOptions(), told.append, dying_once)
    assert Path(batch[5]).with_suffix(".tried").exists()
    assert [answer.bag for answer in answers] == [str(bag) for bag in batch]
    assert sorted(answer.bag for answer in told) == sorted(str(bag) for bag in batch)
    alone = run_batch(batch[:2], ReplayOptions(), 1)
    assert [a.fingerprint for a in answers[:2]] == [a.fingerprint for a in alone]
    assert all(isinstance(answer, BagResult) for answer in answers)


def test_a_bag_that_kills_every_worker_is_told_of_and_the_rest_counts(batch):
    with connected("", 2) as client:
        answers = run_on_dask(client, batch, ReplayOptions(), task=deadly)
    failed = [answer for answer in answers if isinstance(answer, Failure)]
    assert [Path(failure.bag).name for failure in failed] == [POISON]
    assert "its workers died" in failed[0].problem
    assert len(answers) == BAGS


def test_processes_of_this_machine_give_the_same(batch):
    answers = run_batch(batch[:3], ReplayOptions(), 2)
    alone = run_batch(batch[:3], ReplayOptions(), 1)
    assert [a.fingerprint for a in answers] == [a.fingerprint for a in alone]
    assert [a.report for a in answers] == [a.report for a in alone]

"""Many bags on many machines, by Dask: a bag is a task; one whose worker dies is tried again.

All machines must see the bags under the same paths. Source: distributed.dask.org.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salus_ros.replay.bag_result import ReplayOptions
from salus_ros.replay.batch import Answer, Failure, Told, work
from salus_ros.replay.errors import BagError

if TYPE_CHECKING:
    from distributed import Client

Task = Callable[[Path, ReplayOptions], Answer]
# Workers that a bag may cost before it is given up.
DEATHS_MAX = 3
CONNECT_TIMEOUT = 20  # s


@contextmanager
def connected(address: str, workers: int) -> Iterator[Client]:
    """A client of the scheduler at that address; "": of a cluster of processes on this machine.

    Raises BagError, one line, where Dask isn't installed or nobody answers.
    """
    try:
        dask: Any = import_module("distributed")
    except ModuleNotFoundError as error:
        raise BagError(f"--engine dask needs {error.name}: pip install distributed") from None
    # A worker that ends is expected here, and told of once, in the report.
    for name in ("distributed.worker", "distributed.nanny", "distributed.scheduler"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not address:
        with (
            dask.LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
            ) as cluster,
            dask.Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = dask.Client(address, timeout=CONNECT_TIMEOUT)
    except (OSError, ValueError, TimeoutError) as error:
        raise BagError(f"no Dask scheduler at {address} ({error}): start one") from None
    with client:
        yield client


def run_on_dask(
    client: Client,
    bags: Sequence[Path],
    options: ReplayOptions,
    told: Told = lambda _: None,
    task: Task = work,
) -> list[Answer]:
    """All bags, in their order, each counted once however often it had to be tried.

    Dask gives up a bag that was on several workers as they died, though it may only have waited
    there beside the one that they died of. So of several each is tried once more, with no other.
    """
    as_completed: Any = import_module("distributed").as_completed
    futures = {client.submit(task, bag, options, pure=False): bag for bag in bags}
    answers: dict[Path, Answer] = {}
    given_up: dict[Path, Answer] = {}
    for future in as_completed(futures):
        bag = futures[future]
        if future.exception() is None:
            answers[bag] = future.result()
            told(answers[bag])
        else:
            given_up[bag] = _answer(future, bag)
        future.release()
    for bag, answer in given_up.items():
        again = len(given_up) > 1
        answers[bag] = (
            _answer(client.submit(task, bag, options, pure=False), bag) if again else answer
        )
        told(answers[bag])
    return [answers[bag] for bag in bags]


def _answer(future: Any, bag: Path) -> Answer:
    error = future.exception()
    if error is None:
        answer: Answer = future.result()
        return answer
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return Failure(str(bag), f"{bag}: its workers died ({text})")

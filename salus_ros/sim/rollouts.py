"""Data sets of lock-step episodes: one bag each, on all cores, to be continued at any time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, fields
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

from salus_ros.die_with_parent import DIE_WITH_PARENT, die_with_parent_if_asked
from salus_ros.replay.episode_entry import described
from salus_ros.replay.errors import BagError
from salus_ros.replay.storage import Storage
from salus_ros.signals.calibration import Calibration
from salus_ros.sim.lockstep import EpisodeRun, Lockstep
from salus_ros.sim.lockstep_series import ROBOT, panda_limits, sim_calibration
from salus_ros.sim.rig import Rig
from salus_ros.sim.rollout_bag import PARTIAL, EpisodeBag
from salus_ros.sim.rollout_plan import PlannedEpisode, plan_episodes
from salus_ros.sim.running_policy import sim_policy

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class RolloutOptions:
    """What a data set is of; the number of episodes is none of it, so that it can grow.

    policy_options: of the policy's constructor. nominal_share: part of the episodes without a
    disturbance. images: of every so manieth inference; 0: none. calibration: of the signals, a
    file's path; empty: that of the parameter file sim_panda.
    """

    policy: str
    seed: int = 0
    disturbances: tuple[str, ...] = ()
    nominal_share: float = 0.5
    policy_options: Mapping[str, Any] = field(default_factory=dict)
    images: int = 0
    storage: Storage = Storage.MCAP
    calibration: str = ""

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        described = asdict(self)
        described["disturbances"] = list(self.disturbances)
        described["storage"] = self.storage.value
        described["running"] = asdict(sim_policy(self.policy, self.policy_options))
        described["calibration_sha256"] = _fingerprint(sim_calibration(self.calibration))
        return described


def _fingerprint(calibration: Calibration | None) -> str:
    """Of what the signals' numbers depend on; empty where there is no calibration."""
    if calibration is None:
        return ""
    digest = hashlib.sha256()
    for part in fields(calibration):
        value = getattr(calibration, part.name)
        digest.update(value.encode() if isinstance(value, str) else value.tobytes())
    return digest.hexdigest()


class RolloutRunner:
    """Runs planned episodes in this process and writes their bags."""

    def __init__(self, options: RolloutOptions, folder: Path) -> None:
        self._options, self._folder = options, folder
        running = sim_policy(options.policy, options.policy_options)
        self._backend = running.make()
        self._rig, limits = Rig(), panda_limits()
        gripper = limits.gripper.name if limits.gripper else ""
        self._bag = EpisodeBag(limits.arm.names, gripper, options.images)
        self._source = options.policy
        self._lockstep = Lockstep(
            self._rig,
            self._backend,
            limits,
            config=running.lockstep(self._backend.cameras),
            calibration=sim_calibration(options.calibration),
            observer=self._bag.take,
            new_source_id=lambda: self._source,
        )

    def run(self, planned: PlannedEpisode) -> dict[str, Any]:
        """Run one episode and write its bag; returns what is said of it."""
        self._source = f"{self._options.policy}-{planned.seed}"
        self._bag.begin(self._rig.time, planned.number + 1)
        run = self._lockstep.run_episode(planned.instruction, planned.seed, planned.disturbance)
        entry = self._entry(planned, run)
        self._bag.write(self._folder / planned.name, self._options.storage, entry)
        return entry

    def _entry(self, planned: PlannedEpisode, run: EpisodeRun) -> dict[str, Any]:
        status = run.status
        return {
            **planned.describe(),
            "policy": self._options.policy,
            "robot": ROBOT,
            "success": status.success,
            "failure_type": status.failure_type,
            "failure_onset": round(status.failure_onset, 6),
            "end": round(status.end, 6),
            "interventions": run.interventions,
        }

    def close(self) -> None:
        """Free the renderer."""
        self._rig.close()


def collect(
    options: RolloutOptions,
    episodes: int,
    folder: Path,
    jobs: int,
    on_episode: Callable[[dict[str, Any], bool], None],
) -> list[dict[str, Any]]:
    """Run what is missing of a data set; returns an entry for each of its episodes, in order.

    on_episode: called with each entry, and whether it was there before. Raises BagError where the
    folder holds another data set; episodes that are there stay, half-written ones are made anew.
    """
    planned = plan_episodes(episodes, options.seed, options.disturbances, options.nominal_share)
    with _locked(folder):
        _claim(folder, options)
        return _completed(options, planned, folder, jobs, on_episode)


def _completed(
    options: RolloutOptions,
    planned: list[PlannedEpisode],
    folder: Path,
    jobs: int,
    on_episode: Callable[[dict[str, Any], bool], None],
) -> list[dict[str, Any]]:
    entries: dict[int, dict[str, Any]] = {}
    missing = []
    for episode in planned:
        entry = _finished(folder, episode)
        if entry is None:
            missing.append(episode)
        else:
            entries[episode.number] = entry
            on_episode(entry, True)
    for entry in _run_all(options, folder, missing, jobs):
        entries[entry["number"]] = entry
        on_episode(entry, False)
    return [entries[episode.number] for episode in planned]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder against a second recording into it. Raises BagError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BagError(f"another process records into {folder}: wait for its end") from None
        yield


def _claim(folder: Path, options: RolloutOptions) -> None:
    """Note in the folder what it is for, and clear it of half-written episodes."""
    manifest, wanted = folder / MANIFEST, options.describe()
    if manifest.is_file():
        try:
            found = json.loads(manifest.read_text())["options"]
        except (ValueError, KeyError, TypeError) as error:
            raise BagError(f"{manifest} is no manifest ({error}): give a new folder") from None
        for name, value in wanted.items():
            if found.get(name) != value:
                raise BagError(
                    f"{folder} holds rollouts with {name} {found.get(name)!r}, not {value!r}: "
                    "give a new folder"
                )
    elif folder.is_dir() and any(folder.iterdir()):
        raise BagError(f"{folder} holds other files: give a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    for partial in folder.glob(f"*{PARTIAL}"):
        shutil.rmtree(partial)
    if not manifest.is_file():
        write_manifest(folder, options, [])


def _finished(folder: Path, planned: PlannedEpisode) -> dict[str, Any] | None:
    """The entry of an episode whose bag is complete; a bag that isn't is removed."""
    path = folder / planned.name
    if not path.is_dir():
        return None
    try:
        entry = described(path)
    except BagError:
        entry = None
    if entry is not None and planned.describe().items() <= entry.items():
        return entry
    shutil.rmtree(path)
    return None


def write_manifest(
    folder: Path, options: RolloutOptions, entries: list[dict[str, Any]], **more: object
) -> None:
    """Write what is in the folder."""
    content = {"options": options.describe(), **more, "episodes": entries}
    new = folder / f"{MANIFEST}.new"
    new.write_text(json.dumps(content, indent=1) + "\n")
    new.replace(folder / MANIFEST)


def _run_all(
    options: RolloutOptions, folder: Path, missing: list[PlannedEpisode], jobs: int
) -> Iterator[dict[str, Any]]:
    if not missing:
        return
    if jobs <= 1 or len(missing) == 1:
        with closing(RolloutRunner(options, folder)) as runner:
            yield from map(runner.run, missing)
        return
    # Spawned, since neither OpenGL nor torch survives a fork. One thread each, set before numpy
    # and torch are imported there.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ[DIE_WITH_PARENT] = str(os.getpid())
    with ProcessPoolExecutor(
        min(jobs, len(missing)), get_context("spawn"), _begin_worker, (options, folder)
    ) as pool:
        try:
            futures = [pool.submit(_run_in_worker, episode) for episode in missing]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise BagError("a process was killed, for memory perhaps: try --jobs 1") from None
        except BaseException:
            # What they are at is made anew the next time.
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise


# What a worker process runs episodes with, or why it can't.
_worker: list[RolloutRunner | Exception] = []


def _begin_worker(options: RolloutOptions, folder: Path) -> None:
    try:
        die_with_parent_if_asked()
    except SystemExit:  # a pool would print it as a traceback
        os._exit(1)
    # Ctrl-C is for the parent to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _worker.append(RolloutRunner(options, folder))
    except Exception as error:  # told by the first episode; here it would only break the pool
        _worker.append(error)


def _run_in_worker(episode: PlannedEpisode) -> dict[str, Any]:
    runner = _worker[0]
    if isinstance(runner, Exception):
        raise runner
    return runner.run(episode)

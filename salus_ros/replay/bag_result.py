"""One bag replayed, with all that is reported of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from salus_ros.nodes import topics
from salus_ros.replay.annotated_bag import annotated_bag
from salus_ros.replay.comparison import comparison
from salus_ros.replay.delays import delay_model
from salus_ros.replay.differences import acts_of, differences, moments
from salus_ros.replay.episode_entry import rolled_out
from salus_ros.replay.errors import BagError
from salus_ros.replay.lockstep import replay
from salus_ros.replay.measures import Measures, measures, policy_latencies, signals_over_time
from salus_ros.replay.outcomes import Judged, judged_episodes, scores
from salus_ros.replay.outputs import Outputs
from salus_ros.replay.player import Through
from salus_ros.replay.plot_data import PlotData, plot_data
from salus_ros.replay.policy_stage import PolicyOptions, PolicyStage, Take, loaded
from salus_ros.replay.recorded_run import RecordedRun, read_run
from salus_ros.replay.settings import Settings, load_settings
from salus_ros.replay.topic_map import TopicMap, load_topic_map
from salus_ros.replay.trace import Trace, trace_of

# Where a replay's ticks come from.
AUTO, COMMANDS, GRID = TICKS = ("auto", "commands", "grid")


@dataclass(frozen=True)
class ReplayOptions:
    """What is asked of each bag. config None: what the gate said that it was, else sim_panda.

    topic_map: a YAML file's path. ticks: "auto": as the trace says, where there is one. compare:
    another configuration, to be set beside. policy: asked anew, in place of the recorded chunks.
    out: folder for annotated bags. plots: whether data for a page are wanted.
    """

    config: Path | None = None
    topic_map: Path | None = None
    through: Through = field(default_factory=Through)
    seed: int = 0
    ticks: str = AUTO
    compare: Path | None = None
    policy: PolicyOptions | None = None
    out: Path | None = None
    plots: bool = False

    def describe(self) -> dict[str, Any]:
        """For the report, apart from the configuration's own fingerprint."""
        told = {"through": self.through.stages, "seed": self.seed, "ticks": self.ticks}
        return told if self.policy is None else told | {"policy": self.policy.describe()}


@dataclass
class Replayed:
    """A recording, what it was replayed with, and what came of it."""

    run: RecordedRun
    settings: Settings
    outputs: Outputs
    trace: Trace | None
    topic_map: TopicMap


@dataclass
class BagResult:
    """What is kept of a bag: its part of the report, and what is pooled over bags."""

    bag: str
    fingerprint: str
    inputs: Mapping[str, Any]
    report: dict[str, Any]
    measures: Measures
    judged: list[Judged]
    plot: PlotData | None = None


def replay_bag(bag: Path, options: ReplayOptions) -> Replayed:
    """Read a bag and replay it. Raises BagError, one line, where it can't be."""
    settings = _settings(options.config, _changed(options.config))
    topic_map = load_topic_map(options.topic_map) if options.topic_map else TopicMap()
    robot = settings.joint_names, settings.gripper_name, settings.gripper_range
    run = read_run(bag, *robot, topic_map, images=options.policy is not None)
    trace = trace_of(run) if options.ticks == AUTO else None
    if options.config is None:
        settings = settings_of(bag, settings, trace)
    policy = _policy(run, settings, options)
    own_rate = options.ticks == GRID
    outputs = replay(run, settings, options.through, trace, own_rate, policy)
    return Replayed(run, settings, outputs, trace, topic_map)


def settings_of(bag: Path, settings: Settings, trace: Trace | None) -> Settings:
    """Settings with the gate that a bag was recorded with, as far as it says so."""
    if trace is not None:
        return settings.as_recorded(trace.setup)
    return settings.as_rolled_out() if rolled_out(bag) else settings


def _policy(
    run: RecordedRun, settings: Settings, options: ReplayOptions
) -> Callable[[Take], PolicyStage] | None:
    told = options.policy
    if told is None:
        return None
    backend = loaded(told, settings)
    delay = delay_model(told.delay, policy_latencies(run).tolist(), options.seed)
    return lambda take: PolicyStage(backend, settings, delay, take)


@lru_cache(maxsize=8)
def _settings(config: Path | None, _changed_at: int) -> Settings:
    """Read once for all bags."""
    return load_settings(config)


def _changed(config: Path | None) -> int:
    return config.stat().st_mtime_ns if config is not None and config.is_file() else 0


def bag_result(replayed: Replayed, options: ReplayOptions) -> BagResult:
    """Everything that is reported of a bag."""
    run, outputs = replayed.run, replayed.outputs
    found = measures(run, replayed.settings, outputs)
    judged, left_out = judged_episodes(run, outputs)
    first = outputs.ticks[0] if outputs.ticks else 0
    weights = options.policy.weights() if options.policy else {}
    fingerprint = outputs.fingerprint()
    inputs = {
        "bag": run.sha256,
        "configuration": replayed.settings.fingerprint,
        "weights": {**replayed.settings.files, **weights},
        **options.describe(),
    }
    report = {
        "bag": str(run.bag),
        "fingerprint": fingerprint,
        "inputs": inputs,
        "seconds": round(run.duration, 6),
        "ticks": {"count": len(outputs.ticks), "from": outputs.ticks_from},
        "plans_from": outputs.plans_from,
        "notes": _notes(replayed, left_out),
        "scores": {"outcomes": scores(judged, options.seed), **found.to_json()},
        "signals": signals_over_time(outputs),
        "interventions": moments(acts_of(outputs.interventions), first),
        "differences": differences(run, outputs),
    }
    if options.compare is not None:
        report["comparison"] = _compared(replayed, options, options.compare)
    if options.out is not None:
        annotated_bag(run, outputs, options.out / run.bag.stem)
    plot = None
    if options.plots:
        plot = plot_data(run, replayed.settings, outputs, replayed.topic_map)
    return BagResult(str(run.bag), fingerprint, inputs, report, found, judged, plot)


def _compared(replayed: Replayed, options: ReplayOptions, config: Path) -> dict[str, Any]:
    """The same recording with another configuration."""
    run, settings = replayed.run, _settings(config, _changed(config))
    if settings.joint_names != replayed.settings.joint_names:
        raise BagError(f"{config} is of other joints than {run.bag}: {settings.joint_names}")
    own_rate = options.ticks == GRID
    policy = _policy(run, settings, options)
    outputs = replay(run, settings, options.through, replayed.trace, own_rate, policy)
    return comparison(replayed.outputs, outputs, run.joint_names, settings.fingerprint)


def _notes(replayed: Replayed, left_out: list[str]) -> list[str]:
    """What a reader of the figures should know, one line each."""
    run, outputs = replayed.run, replayed.outputs
    notes = [*run.notes, *left_out]
    notes += [f"{topic}: messages left out: {why}" for topic, why in sorted(run.unreadable.items())]
    if outputs.unmatched:
        notes.append(f"the gate had {outputs.unmatched} messages that the bag lacks")
    notes += [f"not gated: {why}" for _, why in outputs.refusals[:3]]
    if outputs.plans_from == topics.JOINT_COMMANDS:
        notes.append("no plans: the recorded commands were taken for them")
    if outputs.policy_problem:
        notes.append(f"the policy made no plan: {outputs.policy_problem}")
    if not outputs.plans_from:
        notes.append("no plans: the gate had nothing to follow")
    if replayed.settings.model is None:
        notes.append("no failure predictor is configured: recorded predictions stand")
    return notes

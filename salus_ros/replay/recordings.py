"""Recorded episodes with their outcomes, from bags: what the failure predictor learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import NANOSECONDS, FloatArray
from salus_ros.nodes import topics
from salus_ros.prediction.episodes import (
    UNKNOWN_SEED,
    RecordedChunks,
    RecordedEpisode,
    Recordings,
)
from salus_ros.replay.bag_reader import Received, find_bags, read_bag
from salus_ros.replay.episode_entry import described
from salus_ros.replay.errors import BagError
from salus_ros.signals.layout import SIGNAL_NAMES, SIGNALS, SignalError, check_width

EPISODE_TOPICS = (topics.SIM_EPISODE, topics.EPISODE_LABEL)
_ENDED = 1
_SIGNALS_TYPE = "salus_msgs/msg/Signals"


class StepRow(NamedTuple):
    """Signals of one executed step: when [ns], the values [12], their validity bits."""

    time: int
    values: Sequence[float]
    valid: int


@dataclass
class EpisodeSpan:
    """What was received of one episode, which began at `start` [ns]."""

    start: int
    instruction: str = ""
    signals: list[StepRow] = field(default_factory=list)
    chunks: list[Received] = field(default_factory=list)
    states: dict[tuple[str, int], Any] = field(default_factory=dict)
    ended: Received | None = None


@dataclass(frozen=True)
class _Found:
    """An episode and the joints that it is of."""

    joints: tuple[str, ...]
    episode: RecordedEpisode


def read_recordings(
    folder: Path,
    joint_names: Sequence[str] | None = None,
    on_bag: Callable[[int, int], None] = lambda _done, _all: None,
) -> Recordings:
    """Episodes of all bags in a folder, itself or below, and what was left out of it, and why.

    joint_names: the robot's, gripper last; None: those that most episodes are of. Bags that can't
    be read, lack a topic or have another layout, episodes that were cut off or are another
    robot's are skipped as a whole. on_bag: told of progress. Raises BagError without any bag.
    """
    bags = find_bags(folder)
    found: list[_Found] = []
    skipped: list[tuple[str, str]] = []
    for done, bag in enumerate(bags, start=1):
        try:
            for item in _episodes(bag):
                if isinstance(item, _Found):
                    found.append(item)
                else:
                    skipped.append((str(bag), item))
        except (BagError, SignalError) as error:
            skipped.append((str(bag), str(error)))
        on_bag(done, len(bags))
    return _of_one_robot(found, skipped, joint_names)


def _of_one_robot(
    found: list[_Found], skipped: list[tuple[str, str]], joint_names: Sequence[str] | None
) -> Recordings:
    if found and joint_names is None:
        joint_names = Counter(item.joints for item in found).most_common(1)[0][0]
    episodes = []
    for item in found:
        if item.joints == tuple(joint_names or ()):
            episodes.append(item.episode)
        else:
            reason = f"another robot's: {', '.join(item.joints)}"
            skipped.append((item.episode.source, reason))
    return Recordings(tuple(episodes), tuple(skipped))


def _episodes(bag: Path) -> Iterator[_Found | str]:
    """Each episode of a bag, or in one line why it can't be used."""
    wanted = (topics.SIGNALS, topics.ACTION_CHUNK, topics.POLICY_STATE, *EPISODE_TOPICS)
    received = read_bag(bag, wanted, (topics.SIGNALS, topics.ACTION_CHUNK))
    _check_layout(bag, received)
    entry = described(bag) or {}
    spans = episode_spans(received)
    if not spans:
        yield f"{bag} says nothing of episodes on {' or '.join(EPISODE_TOPICS)}: label them"
    for number, span in enumerate(spans, start=1):
        source = str(bag) if len(spans) == 1 else f"{bag}#{number}"
        try:
            yield _found(span, source, entry)
        except (SignalError, BagError) as error:
            yield str(error)


def _check_layout(bag: Path, received: Sequence[Received]) -> None:
    """Refuse signals of another layout than this version's."""
    for item in received:
        if item.topic != topics.SIGNALS:
            continue
        names = [name for name in SIGNAL_NAMES if hasattr(item.message, name)]
        if item.type == _SIGNALS_TYPE and len(names) == SIGNALS:
            return
        width = _width_of_another(item.message)
        check_width(width, f"{bag}, {topics.SIGNALS} ({item.type}),")
        raise BagError(f"{bag} has {item.type} on {topics.SIGNALS}: record again")


def _width_of_another(message: Any) -> int:
    """How many signals a message of another layout holds: an array's, or its numbers."""
    if hasattr(message, "data"):
        return int(np.size(message.data))
    return sum(isinstance(getattr(message, name), float) for name in vars(message))


def episode_spans(received: Sequence[Received]) -> list[EpisodeSpan]:
    """What was received of each episode; the signals of its last steps may come after its end.

    Messages of signals may as well be StepRows.
    """
    spans: list[EpisodeSpan] = []
    for item in received:
        if item.topic in EPISODE_TOPICS:
            _take_episode(spans, item)
        elif spans:
            _take(spans[-1], item)
    return spans


def _take_episode(spans: list[EpisodeSpan], item: Received) -> None:
    message = item.message
    running = bool(spans) and spans[-1].ended is None
    if message.phase != _ENDED:
        if not running:
            spans.append(EpisodeSpan(_stamp(message.header.stamp), str(message.instruction)))
    elif running:
        spans[-1].ended = item


def _take(span: EpisodeSpan, item: Received) -> None:
    if item.topic == topics.SIGNALS:
        span.signals.append(_row(item.message))
    elif span.ended is None and item.topic == topics.ACTION_CHUNK:
        span.chunks.append(item)
    elif span.ended is None:
        state = item.message
        span.states[state.source_id, state.chunk_number] = state


def _row(message: Any) -> StepRow:
    if isinstance(message, StepRow):
        return message
    values = [getattr(message, name) for name in SIGNAL_NAMES]
    return StepRow(_stamp(message.execution_time), values, int(message.valid))


def _found(span: EpisodeSpan, source: str, entry: dict[str, Any]) -> _Found:
    return _Found(_joints(_first_chunk(span, source)), recorded_episode(span, source, entry))


def _first_chunk(span: EpisodeSpan, source: str) -> Any:
    if not span.chunks:
        raise BagError(f"{source}: no plan of a policy was recorded")
    return span.chunks[0].message


def recorded_episode(span: EpisodeSpan, source: str, entry: dict[str, Any]) -> RecordedEpisode:
    """The episode of a span. Raises BagError or SignalError where it can't be used, one line.

    source: for messages; entry: what the bag's metadata says of it.
    """
    if span.ended is None:
        raise BagError(f"{source}: the episode was cut off, its outcome is unknown")
    first = _first_chunk(span, source)
    outcome = span.ended.message
    labelled = span.ended.topic == topics.EPISODE_LABEL
    onset, end = _labelled_times(span) if labelled else (outcome.failure_onset, outcome.end)
    values, valid, times = _signals(span, float(end))
    return RecordedEpisode(
        signals=values,
        valid=valid,
        times=times,
        success=bool(outcome.success),
        failure_type=str(outcome.failure_type),
        onset=float(onset),
        end=float(end),
        instruction=str(outcome.instruction or span.instruction),
        disturbance=str(outcome.disturbance),
        seed=UNKNOWN_SEED if labelled else int(outcome.seed),
        policy=str(entry.get("policy", "")),
        robot=str(entry.get("robot", "")),
        step_period=float(first.time_step),
        chunks=_chunks(span, source),
        source=source,
    )


def _labelled_times(span: EpisodeSpan) -> tuple[float, float]:
    """Onset and end [s] of an episode that a person labelled: told of later than it happened."""
    assert span.ended is not None
    happened, told = _stamp(span.ended.message.header.stamp), span.ended.time
    onset = max(0, happened - span.start) / NANOSECONDS
    end = max(happened, told) if span.ended.message.failure_type else happened
    return onset if span.ended.message.failure_type else -1.0, (end - span.start) / NANOSECONDS


def _joints(chunk: Any) -> tuple[str, ...]:
    return (*chunk.joint_names, *([chunk.gripper_name] if chunk.gripper_name else []))


def _signals(
    span: EpisodeSpan, end: float
) -> tuple[NDArray[np.float32], NDArray[np.uint16], FloatArray]:
    """Values [T, 12], validity [T] and times [T] s of the steps that were executed within it."""
    times = np.array([(row.time - span.start) / NANOSECONDS for row in span.signals])
    order = [i for i in np.argsort(times, kind="stable") if 0.0 <= times[i] <= end]
    rows = [span.signals[i].values for i in order]
    values = np.array(rows, np.float32).reshape(-1, SIGNALS)
    bits = np.array([span.signals[i].valid for i in order], np.int64)
    finite = (np.isfinite(values) * (1 << np.arange(SIGNALS))).sum(axis=1)
    return np.nan_to_num(values, nan=0.0), (bits & finite).astype(np.uint16), times[order]


def _chunks(span: EpisodeSpan, source: str) -> RecordedChunks:
    messages = [item.message for item in span.chunks]
    states = [span.states.get((m.source_id, m.chunk_number)) for m in messages]
    start = span.start
    return RecordedChunks(
        times=np.array([(item.time - start) / NANOSECONDS for item in span.chunks]),
        latents=_latents(states, source),
        samples=np.array([s.distribution_samples if s else 0 for s in states], np.int64),
        entropies=np.array([s.softmax_entropy if s else 0.0 for s in states]),
        max_probabilities=np.array([s.max_softmax_prob if s else 0.0 for s in states]),
        sample_variances=np.full(len(states), np.nan),
        plans=_plans(messages, source),
        plan_starts=np.array([(_stamp(m.start_time) - start) / NANOSECONDS for m in messages]),
        first_fresh=np.array([m.first_fresh_step for m in messages], np.int64),
        time_step=float(messages[0].time_step),
    )


def _latents(states: Sequence[Any], source: str) -> NDArray[np.float32]:
    """[N, width]; NaN rows where one is missing, width 0 where all are."""
    widths = {len(state.latent) for state in states if state is not None} - {0}
    if len(widths) > 1:
        raise BagError(f"{source} has latents of {sorted(widths)} values: of several policies")
    rows = np.full((len(states), max(widths, default=0)), np.nan, np.float32)
    for row, state in zip(rows, states, strict=True):
        if state is not None and len(state.latent):
            row[:] = state.latent
    return rows


def _plans(messages: Sequence[Any], source: str) -> FloatArray:
    """[N, rows, dims], NaN rows behind the shorter ones."""
    dims = len(_joints(messages[0]))
    sizes = [len(m.actions) for m in messages]
    alike = all(_joints(message) == _joints(messages[0]) for message in messages)
    if not dims or not alike or any(size % dims for size in sizes):
        raise BagError(f"{source} has chunks of different joints or broken rows: leave it out")
    plans = np.full((len(messages), max(sizes) // dims, dims), np.nan)
    for plan, message, size in zip(plans, messages, sizes, strict=True):
        plan[: size // dims] = np.reshape(message.actions, (-1, dims))
    return plans


def _stamp(time: Any) -> int:
    return int(time.sec) * NANOSECONDS + int(time.nanosec)

"""Which episode serves what: stable, by hash, and none for two purposes.

The hash is of the episode's start (instruction and seed), so that an undisturbed episode and its
disturbed twin, alike until the disturbance, never end up on two sides. Episodes under disturbances
kept out of training serve as the second test alone, and only where no twin is used otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.signals.layout import SignalError

TRAIN, VALIDATION, CALIBRATION, CONFORMAL, TEST = (
    "train",
    "validation",
    "calibration",
    "conformal",
    "test",
)
UNSEEN = "unseen"
SHARES: dict[str, float] = {
    TRAIN: 0.30,
    VALIDATION: 0.10,
    CALIBRATION: 0.10,
    CONFORMAL: 0.25,
    TEST: 0.25,
}
# One of each family: what the camera sees, what happens to the block, what the arm can do. Of each
# family others are in training.
UNSEEN_DISTURBANCES: tuple[str, ...] = ("camera_shifted", "block_pushed", "joint_friction")
_SALT = "salus failure predictor 1"


@dataclass(frozen=True, slots=True)
class Splits:
    """Episodes by purpose, and what was left out: (name, reason)."""

    train: tuple[RecordedEpisode, ...] = ()
    validation: tuple[RecordedEpisode, ...] = ()
    calibration: tuple[RecordedEpisode, ...] = ()
    conformal: tuple[RecordedEpisode, ...] = ()
    test: tuple[RecordedEpisode, ...] = ()
    unseen: tuple[RecordedEpisode, ...] = ()
    left_out: tuple[tuple[str, str], ...] = field(default=())

    def by_name(self) -> dict[str, tuple[RecordedEpisode, ...]]:
        """Episodes by the purpose's name."""
        return {name: getattr(self, name) for name in (*SHARES, UNSEEN)}


def purpose(start: str) -> str:
    """The split of all undisturbed and seen episodes with this start."""
    digest = hashlib.sha256(f"{_SALT}|{start}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    for name, share in SHARES.items():
        place -= share
        if place < 0:
            return name
    return TEST


def split_episodes(
    episodes: Iterable[RecordedEpisode], unseen: Sequence[str] = UNSEEN_DISTURBANCES
) -> Splits:
    """Give each episode its purpose; the order of the episodes makes no difference to that.

    Left out, with the reason: an episode that was there before, whatever its file is called; one
    of a robot, policy or step period other than the first's; one whose failure began before its
    first step. Raises SignalError where nothing is left.
    """
    found: dict[str, list[RecordedEpisode]] = {name: [] for name in (*SHARES, UNSEEN)}
    left_out: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    first: RecordedEpisode | None = None
    for episode in episodes:
        reason = _unfit(episode, seen, first)
        if reason:
            left_out.append((episode.name, reason))
            continue
        first = first or episode
        seen[episode.fingerprint] = episode.name
        held_out = episode.disturbance in unseen
        found[UNSEEN if held_out else purpose(episode.start)].append(episode)
    if first is None:
        raise SignalError(f"no episode can be used ({_reasons(left_out)}): record episodes")
    found[UNSEEN], twins = _without_twins(found)
    left_out += [(twin.name, "a twin from the same start is not in the test") for twin in twins]
    return Splits(**{name: tuple(group) for name, group in found.items()}, left_out=tuple(left_out))


def _without_twins(
    found: dict[str, list[RecordedEpisode]],
) -> tuple[list[RecordedEpisode], list[RecordedEpisode]]:
    used = {e.start for name in SHARES if name != TEST for e in found[name]}
    own = [e for e in found[UNSEEN] if e.start not in used]
    return own, [e for e in found[UNSEEN] if e.start in used]


def _unfit(episode: RecordedEpisode, seen: dict[str, str], first: RecordedEpisode | None) -> str:
    if episode.fingerprint in seen:
        return f"the same episode as {seen[episode.fingerprint]}"
    if episode.steps_before_onset == 0:
        return "its failure began before its first step"
    if first is None:
        return ""
    for what in ("robot", "policy"):
        mine, others = getattr(episode, what), getattr(first, what)
        if mine != others:
            return f"it is of {what} '{mine}', the others are of '{others}'"
    if abs(episode.step_period / first.step_period - 1) > 0.01:
        return f"its steps last {episode.step_period:.4g} s, the others' {first.step_period:.4g} s"
    return ""


def _reasons(left_out: Sequence[tuple[str, str]]) -> str:
    return "; ".join(sorted({reason for _, reason in left_out})) or "none given"


def first_by_hash(episodes: Sequence[RecordedEpisode], count: int) -> list[RecordedEpisode]:
    """`count` of them, the same whatever their order: to train with fewer."""
    return sorted(episodes, key=lambda e: hashlib.sha256(e.fingerprint.encode()).digest())[:count]

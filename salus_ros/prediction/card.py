"""The card of a checkpoint: what it is, what it was made of, what it is not for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salus_ros.prediction.model import FailureModel
from salus_ros.signals.layout import LAYOUT_VERSION


def write_card(
    file: Path, name: str, model: FailureModel, trained: dict[str, Any], fingerprint: str
) -> None:
    """Write it. OSError where that can't be done."""
    file.write_text(card(name, model, trained, fingerprint), encoding="utf-8")


def card(name: str, model: FailureModel, trained: dict[str, Any], fingerprint: str) -> str:
    """Markdown. trained: as in the checkpoint's header."""
    lines = [
        f"# {name}",
        "",
        "Failure predictor of SALUS ROS: probability of collision, drop, miss and timeout within "
        f"{', '.join(f'{h:g}' for h in model.horizons)} s, and an alarm for the episode, from the "
        "12 signals.",
        "",
        f"- Fingerprint: `{fingerprint}`; signal layout {LAYOUT_VERSION}; window "
        f"{model.network.config.window} steps of {model.step_period * 1000:.1f} ms.",
        f"- Robot: {model.robot or 'not named'}; policy: {model.policy or 'not named'}. For "
        "another policy or robot, train another.",
        f"- Network: {trained['parameters']} parameters; {trained['decision']['reason']}.",
        f"- Alarm: conformal band on {model.band.successes} successful episodes, at most "
        f"{model.band.alpha:.0%} of successes of the same kind.",
        _told_of_timeouts(model),
        f"- Disturbances kept out of training: {', '.join(trained['unseen']) or 'none'}.",
        f"- Made at commit {trained['commit']}.",
        "",
        "| split | episodes | failures |",
        "| --- | --- | --- |",
    ]
    for split, told in trained["episodes"].items():
        if split != "left_out":
            kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(told["failures"].items()))
            lines.append(f"| {split} | {told['episodes']} | {kinds or 'none'} |")
    lines += [
        "",
        "What it reaches on episodes that it never saw: `salus evaluate predictor`. It was trained "
        "in simulation. It is one restriction among others and never the only path to a stop: the "
        "supervisor's own checks don't depend on it.",
        "",
    ]
    return "\n".join(lines)


def _told_of_timeouts(model: FailureModel) -> str:
    onsets = model.deadlines.onsets
    if not len(onsets):
        return "- Timeouts: too few in training to tell when they begin."
    return (
        f"- Timeouts: {len(onsets)} in training, begun {onsets[0]:.1f} to {onsets[-1]:.1f} s after "
        "the start. The clock enters their probability and nothing else; under another time limit, "
        "train again."
    )

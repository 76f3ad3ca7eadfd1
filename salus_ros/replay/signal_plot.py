"""A picture (SVG) of the 12 signals over a success and a failure, beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.signals.layout import SIGNAL_NAMES

COLUMNS = 3
WIDTH, HEIGHT = 300, 118
LEFT, TOP, RIGHT, BOTTOM = 46, 24, 12, 22
HEAD = 64
SUCCESS, FAILURE = "#2563a8", "#d1590f"
_STYLE = (
    "text{font:11px sans-serif;fill:#333}.name{font-weight:bold}.small{font-size:10px;fill:#777}"
    "path{fill:none;stroke-width:1.4}.frame{fill:none;stroke:#ccc}"
)


def signal_plot(success: RecordedEpisode, failure: RecordedEpisode) -> str:
    """The picture's text. Gaps in a line are steps at which the signal was invalid."""
    rows = -(-len(SIGNAL_NAMES) // COLUMNS)
    width, height = COLUMNS * WIDTH, HEAD + rows * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">',
        f'<style>{_STYLE}</style><rect width="{width}" height="{height}" fill="#fff"/>',
        *_head(success, failure),
    ]
    end = max(success.end, failure.end)
    for index in range(len(SIGNAL_NAMES)):
        x, y = index % COLUMNS * WIDTH, HEAD + index // COLUMNS * HEIGHT
        parts.append(f'<g transform="translate({x},{y})">')
        parts += _panel(index, (success, failure), end)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _head(success: RecordedEpisode, failure: RecordedEpisode) -> Iterator[str]:
    for line, (episode, color) in enumerate(((success, SUCCESS), (failure, FAILURE))):
        y = 20 + 17 * line
        yield f'<path d="M12 {y - 4}h24" stroke="{color}"/>'
        yield f'<text x="44" y="{y}">{escape(_caption(episode))}</text>'
    yield (
        f'<text class="small" x="44" y="{20 + 17 * 2}">x: seconds since the start; dashed: onset '
        "of the failure; no line: invalid</text>"
    )


def _caption(episode: RecordedEpisode) -> str:
    kind = "success" if not episode.failed else f"failure: {episode.failure_type}"
    disturbed = f", {episode.disturbance}" if episode.disturbance else ""
    onset = f", onset {episode.onset:.2f} s" if episode.failed else ""
    return (
        f"{kind}{onset}{disturbed}; {episode.policy}, '{episode.instruction}', "
        f"seed {episode.seed}, {episode.end:.2f} s"
    )


def _panel(index: int, episodes: Sequence[RecordedEpisode], end: float) -> Iterator[str]:
    inner = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    yield f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{inner[0]}" height="{inner[1]}"/>'
    yield f'<text class="name" x="{LEFT}" y="{TOP - 6}">{index + 1} {SIGNAL_NAMES[index]}</text>'
    courses = [_course(episode, index) for episode in episodes]
    known = np.concatenate([values[np.isfinite(values)] for values in courses])
    yield f'<text class="small" x="{LEFT}" y="{HEIGHT - 8}">0</text>'
    yield (
        f'<text class="small" x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">'
        f"{end:.1f} s</text>"
    )
    if not known.size:
        x, y = LEFT + inner[0] / 2, TOP + inner[1] / 2 + 4
        yield f'<text class="small" x="{x}" y="{y}" text-anchor="middle">invalid throughout</text>'
        return
    low, high = _range(known)
    for value, y in ((high, TOP + 9), (low, HEIGHT - BOTTOM)):
        yield f'<text class="small" x="{LEFT - 5}" y="{y}" text-anchor="end">{value:.3g}</text>'
    for episode, values, color in zip(episodes, courses, (SUCCESS, FAILURE), strict=True):
        across = LEFT + episode.times / end * inner[0]
        down = TOP + (high - values) / (high - low) * inner[1]
        yield f'<path stroke="{color}" d="{_path(across, down)}"/>'
        if episode.failed:
            at = LEFT + episode.onset / end * inner[0]
            yield (
                f'<path stroke="{color}" stroke-dasharray="4 3" d="M{at:.1f} {TOP}v{inner[1]}"/>'
            )


def _course(episode: RecordedEpisode, index: int) -> FloatArray:
    """One signal [T], NaN where it is invalid."""
    valid = episode.valid.astype(np.int64) >> index & 1 == 1
    return np.where(valid, episode.signals[:, index].astype(np.float64), np.nan)


def _range(known: FloatArray) -> tuple[float, float]:
    """What the panel shows: from 0, or the lowest value where all is far above, to the highest."""
    low, high = float(known.min()), float(known.max())
    low = 0.0 if low <= 0.5 * high else low
    return (low, high) if high > low else (min(low, 0.0), max(high, 1.0))


def _path(x: FloatArray, y: FloatArray) -> str:
    """A line through the points, begun anew behind each one that is NaN."""
    path, drawing = [], False
    for px, py in zip(x, y, strict=True):
        if np.isfinite(py):
            path.append(f"{'L' if drawing else 'M'}{px:.1f} {py:.1f}")
        drawing = bool(np.isfinite(py))
    return "".join(path)

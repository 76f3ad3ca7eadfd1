"""What the cameras saw at the moments of interventions, as small PNG files in a page."""

from __future__ import annotations

import base64
import struct
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import seconds
from salus_ros.replay.bag_reader import RawMessage, read_raw
from salus_ros.replay.event_reader import image_of
from salus_ros.replay.recorded_run import RecordedRun
from salus_ros.replay.topic_map import TopicMap, camera_of

MOMENTS_MAX = 12
WIDTH = 160


@dataclass(frozen=True)
class Thumbnail:
    """time [s] since the first tick; image: a data URL; caption: camera and reason."""

    time: float
    caption: str
    image: str


def thumbnails(
    run: RecordedRun, moments: Sequence[tuple[int, str]], first: int, topic_map: TopicMap
) -> list[Thumbnail]:
    """The newest image of each camera at moments [ns] with their reasons, some of each reason."""
    roles: dict[str, str] = {}

    def cameras(present: object) -> set[str]:
        roles.update(topic_map.roles(present))  # type: ignore[arg-type]
        return {topic for topic, role in roles.items() if camera_of(role)}

    by_topic: dict[str, list[RawMessage]] = {}
    if moments:
        for raw in read_raw(run.bag, cameras):
            by_topic.setdefault(raw.topic, []).append(raw)
    found = []
    for moment, reason in _chosen(moments):
        for topic, images in sorted(by_topic.items()):
            place = bisect_right([raw.time for raw in images], moment + run.offset) - 1
            if place >= 0:
                caption = f"{camera_of(roles[topic])}: {reason}"
                time = round(seconds(moment - first), 3)
                found.append(Thumbnail(time, caption, _small(images[place])))
    return found


def _chosen(moments: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """As many as are shown, in order: the first of each reason before the second of one."""
    seen: Counter[str] = Counter()
    ranks = []
    for place, (_, reason) in enumerate(moments):
        ranks.append((seen[reason], place))
        seen[reason] += 1
    return [moments[place] for _, place in sorted(sorted(ranks)[:MOMENTS_MAX], key=itemgetter(1))]


def _small(raw: RawMessage) -> str:
    try:
        image, _ = image_of(raw)
    except ValueError:
        return ""
    stride = max(1, -(-image.shape[1] // WIDTH))
    return "data:image/png;base64," + base64.b64encode(png(image[::stride, ::stride])).decode()


def png(image: NDArray[np.uint8]) -> bytes:
    """A PNG file of an image [height, width, 3] RGB (RFC 2083: 8 bits, no filter)."""
    height, width, _ = image.shape
    rows = np.concatenate(
        (np.zeros((height, 1), np.uint8), image.reshape(height, width * 3)), axis=1
    )
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows.tobytes(), 6)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)

"""One lock-step episode as a bag of the live graph's topics."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from salus_ros.interfaces import NANOSECONDS, Observation, PolicyState
from salus_ros.replay.bag_writer import BagWriter
from salus_ros.replay.episode_entry import custom_data
from salus_ros.replay.messages import MessageEncoder
from salus_ros.replay.offered_qos import qos_of_graph
from salus_ros.replay.storage import Storage
from salus_ros.replay.topic import Message
from salus_ros.sim.episode import EpisodeStatus

# Stamps of an episode begin at one second: a stamp of zero means "unset" to many readers.
START = NANOSECONDS
PARTIAL = ".partial"


class EpisodeBag:
    """Gathers what the lock-step graph publishes, then writes it at once.

    images: record those that the policy saw, of every so manieth inference; 0: none.
    """

    def __init__(self, joint_names: tuple[str, ...], gripper_name: str, images: int = 0) -> None:
        self._encoder = MessageEncoder(joint_names, gripper_name)
        self._images = images
        self.begin(0, 0)

    def begin(self, start: int, number: int) -> None:
        """Forget what was gathered: an episode begins at `start` on the rig's clock [ns].

        number: of the episode, in place of the rig's count, which depends on what it ran before.
        """
        self._encoder.epoch = START - start
        self._number = number
        self._gathered: list[tuple[int, str, str, bytes]] = []
        self._inferences = 0

    def take(self, now: int, thing: object) -> None:
        """Gather one thing that is published at `now` [ns]."""
        if isinstance(thing, Observation):
            self._take_images(now, thing)
            return
        if isinstance(thing, EpisodeStatus):
            thing = replace(thing, number=self._number)
        elif isinstance(thing, PolicyState):
            # Times on the wall, which no lock-step depends on and no two runs have in common.
            thing = replace(thing, stage_seconds={})
        if self._encoder.knows(thing):
            self._gathered.append((now, *self._encoder.encode(thing, now)))

    def _take_images(self, now: int, observation: Observation) -> None:
        if self._images and self._inferences % self._images == 0:
            for camera, image in observation.images.items():
                encoded = self._encoder.image(camera, image, observation.stamp)
                self._gathered.append((now, *encoded))
        self._inferences += 1

    def write(self, folder: Path, storage: Storage, description: Mapping[str, Any]) -> None:
        """Write the bag; the folder appears only once it is complete. Raises BagError."""
        partial = folder.with_name(folder.name + PARTIAL)
        shutil.rmtree(partial, ignore_errors=True)
        writer = BagWriter(partial, storage, compress=True, file_name=folder.name)
        numbers: dict[str, int] = {}
        for _, topic, kind, _ in self._gathered:
            if topic not in numbers:
                numbers[topic] = writer.add_topic(topic, kind, [qos_of_graph(topic)])
        writer.append(
            [
                Message(numbers[topic], now + self._encoder.epoch, data)
                for now, topic, _, data in self._gathered
            ]
        )
        writer.close(custom_data(description))
        partial.replace(folder)

"""Episodes: when a task is done, and when, how and since when it has failed.

Success
    pick: the task's block stands at least LIFT above its start, held by both fingers, for HOLD
    seconds on end. reach: the tool point is above the block, at rest, for HOLD seconds on end.
Failures, with their onset
    collision: the first contact between robot and table, itself or a block whose net force is
    above the bound. Ends the episode.
    drop: a block has left the grasp, either after it was lifted or while the gripper was
    closed on it; onset is the moment that a finger lost it.
    Ends the episode where the block has come to lie out of reach; else it is recorded, and the
    episode goes on, since the block can be picked again.
    miss: the gripper was closed on nothing (picks only); onset is the moment that the opening
    became too small for a block. Recorded; the episode goes on.
    timeout: the time limit. Ends the episode; onset is the last moment from which the task could
    still be done in the shortest time known for what was left of it.
The status shows the first failure of an episode, also where the policy recovers from it and
succeeds after all; `Episode.events` lists them all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from salus_ros.interfaces import FloatArray, seconds
from salus_ros.sim.tasks import Task
from salus_ros.sim.world import BLOCK_SIZE

LIFT = 0.10
"""Height above its start at which a block is picked [m]."""
HOLD = 500_000_000
"""How long success must last [ns]."""
REACH_HEIGHT = (0.03, 0.14)
"""Tool point's height above the block's centre in a reach [m]."""
REACH_OFFSET = 0.025
"""Most horizontal distance between tool point and block in a reach [m]."""
REST_SPEED = 0.03
"""Tool speed that counts as at rest [m/s]."""
LIFTED = 0.015
"""Height from which a block that leaves the grasp has been dropped [m]."""
MISS_WIDTH = BLOCK_SIZE - 0.010
"""Opening [m] below which there can't be a block between the fingers."""
FIRM_AFTER = 150_000_000
"""How long both fingers must have touched a block for it to be in the grasp [ns]."""
LOST_AFTER = 40_000_000
"""How long a contact must be lost to count: fingers chatter for a step or two [ns]."""
SHORTEST = {"pick": 3.9, "lift": 1.2, "reach": 1.6}
"""Shortest time [s] known, the expert's: for a pick, its rest from the grasp on, a reach."""
REACHABLE_LOWER = np.array([0.25, -0.40, -0.02])
REACHABLE_UPPER = np.array([0.75, 0.40, 1.00])
"""Box [m] in which a block can still be picked."""


class Phase(IntEnum):
    """As in Episode.msg."""

    RUNNING = 0
    ENDED = 1


@dataclass(frozen=True, slots=True)
class EpisodeStatus:
    """State of the episode; mirrors Episode.msg.

    failure_type: "collision", "drop", "miss", "timeout" or empty. failure_onset, end: seconds
    since the start of the episode, -1 where not yet or none. chosen_block: colour of the first
    block that was grasped, or where none was, of the nearest at the end; empty before.
    """

    number: int
    seed: int
    instruction: str
    disturbance: str
    phase: Phase = Phase.RUNNING
    success: bool = False
    failure_type: str = ""
    failure_onset: float = -1.0
    end: float = -1.0
    chosen_block: str = ""


@dataclass(frozen=True, slots=True)
class FailureEvent:
    """One failure: type, onset and what it was with ("table", a colour, ...); onset in seconds."""

    type: str
    onset: float
    detail: str


@dataclass(frozen=True, slots=True)
class Moment:
    """What an episode is judged by, at one time [ns] since its start.

    grasped: colour of the block that both fingers touch. blocks: centres [3] m by colour.
    tool [3] m, tool_speed m/s; opening and commanded_opening of the gripper m.
    """

    time: int
    grasped: str | None
    blocks: dict[str, FloatArray]
    tool: FloatArray
    tool_speed: float
    opening: float
    commanded_opening: float


class Episode:
    """Judges one episode from the moments that it is shown, in order of time."""

    def __init__(
        self,
        status: EpisodeStatus,
        task: Task,
        blocks: dict[str, FloatArray],
        limit: int,
    ) -> None:
        """`blocks`: centres [3] m at the start, by colour; limit: time limit [ns]."""
        self.status = status
        self.events: list[FailureEvent] = []
        self._task = task
        self._start_heights = {c: float(p[2]) for c, p in blocks.items()}
        self._limit = limit
        self._good_since = -1
        self._moment: Moment | None = None
        self._chosen = ""
        self._held: str | None = None
        self._held_at = self._held_since = 0
        self._lifted = False
        self._dropped = False
        self._closed_on_nothing = False
        self._last_feasible = 0

    @property
    def running(self) -> bool:
        """Whether it is still being judged."""
        return self.status.phase is Phase.RUNNING

    def collide(self, time: int, what: str) -> None:
        """A contact force above the bound at `time` [ns]: the episode ends."""
        if self.running:
            self._record("collision", time, what)
            self._end(time, success=False)

    def judge(self, moment: Moment) -> None:
        """Look at one moment; changes `status` and `events`."""
        if not self.running:
            return
        self._moment = moment
        self._watch_grasp(moment)
        self._watch_closing(moment)
        if moment.time + self._needed(moment) <= self._limit:
            self._last_feasible = moment.time
        good = self._picked(moment) if self._task.action == "pick" else self._reached(moment)
        if not good:
            self._good_since = -1
        elif self._good_since < 0:
            self._good_since = moment.time
        if good and moment.time - self._good_since >= HOLD:
            self._end(moment.time, success=True)
        elif self._dropped and not self._within_reach(moment):
            self._end(moment.time, success=False)
        elif moment.time >= self._limit:
            self._record("timeout", self._last_feasible, "")
            self._end(moment.time, success=False)

    def _picked(self, moment: Moment) -> bool:
        color = self._task.color
        return moment.grasped == color and self._height(moment, color) >= LIFT

    def _reached(self, moment: Moment) -> bool:
        offset = moment.tool - moment.blocks[self._task.color]
        return bool(
            REACH_HEIGHT[0] <= offset[2] <= REACH_HEIGHT[1]
            and np.hypot(offset[0], offset[1]) <= REACH_OFFSET
            and moment.tool_speed <= REST_SPEED
        )

    def _height(self, moment: Moment, color: str) -> float:
        return float(moment.blocks[color][2]) - self._start_heights[color]

    def _watch_grasp(self, moment: Moment) -> None:
        if moment.grasped is not None:
            self._chosen = self._chosen or moment.grasped
            if moment.grasped != self._held:
                self._lifted, self._held_since = False, moment.time
            self._held, self._held_at = moment.grasped, moment.time
            self._lifted |= self._height(moment, moment.grasped) >= LIFTED
        elif self._held is not None and moment.time - self._held_at >= LOST_AFTER:
            # Without a lift, opening the gripper is letting go; losing the block is not.
            closed = moment.commanded_opening < BLOCK_SIZE
            firm = closed and self._held_at - self._held_since >= FIRM_AFTER
            if self._lifted or firm:
                self._record("drop", self._held_at, self._held)
                self._dropped |= self._held == self._task.color
                # The fingers that close after it close on nothing, but that is no new failure.
                self._closed_on_nothing = closed
            self._held, self._lifted = None, False

    def _watch_closing(self, moment: Moment) -> None:
        if self._task.action != "pick" or self._held is not None:
            return
        closing = moment.commanded_opening < MISS_WIDTH
        empty = closing and moment.opening < MISS_WIDTH
        if empty and not self._closed_on_nothing:
            self._record("miss", moment.time, "")
        if not closing:
            self._closed_on_nothing = False
        elif empty:
            self._closed_on_nothing = True

    def _needed(self, moment: Moment) -> int:
        if not self._within_reach(moment):
            return self._limit + 1
        held = self._task.action == "pick" and moment.grasped == self._task.color
        return round(SHORTEST["lift" if held else self._task.action] * 1e9)

    def _within_reach(self, moment: Moment) -> bool:
        place = moment.blocks[self._task.color]
        return bool(np.all(place >= REACHABLE_LOWER) and np.all(place <= REACHABLE_UPPER))

    def _record(self, kind: str, onset: int, detail: str) -> None:
        self.events.append(FailureEvent(kind, seconds(onset), detail))
        if not self.status.failure_type:
            self._change(failure_type=kind, failure_onset=seconds(onset))

    def _end(self, time: int, success: bool) -> None:
        chosen = self._chosen or self._nearest()
        self._change(phase=Phase.ENDED, success=success, end=seconds(time), chosen_block=chosen)

    def _nearest(self) -> str:
        """The block nearest to the tool point, seen from above; empty where nothing was seen."""
        moment = self._moment
        if moment is None:
            return ""
        places = moment.blocks
        return min(places, key=lambda c: float(np.hypot(*(places[c] - moment.tool)[:2])))

    def _change(self, **changes: object) -> None:
        self.status = replace(self.status, **changes)  # type: ignore[arg-type]

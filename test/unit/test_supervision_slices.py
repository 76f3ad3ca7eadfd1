"""The check of a whole chunk in slices: followed at once, judged to the end before it matters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_supervision_gate import MIDDLE, Rig, reasons
from test_supervision_workspace import check, spaced, sweep, tool_at

from salus_ros.interfaces import ActionChunk
from salus_ros.supervision.modes import Mode
from salus_ros.supervision.plan_completion import HEAD
from salus_ros.supervision.workspace import Box


class SlicedRig(Rig):
    """Checks chunks in slices, `slices` of them between two ticks."""

    slices: int = 1

    def send(self, **changes: Any) -> bool:
        return self.gate.on_chunk(self.chunk(**changes), self.now, in_slices=True)

    def tick(self, after: float | None = None) -> Any:
        for _ in range(self.slices):
            self.gate.check_slice(self.now)
        return super().tick(after)


def finish(rig: Rig) -> int:
    """Check to the end; the number of slices."""
    count = 1
    while rig.gate.check_slice(rig.now):
        count += 1
    return count


@pytest.mark.parametrize("slices", [0, 1, 100])
def test_plans_checked_in_slices_are_followed_as_those_checked_at_once(slices: int) -> None:
    rig, whole = SlicedRig(), Rig()
    rig.slices = slices
    rig.follow()
    whole.follow()
    assert np.abs(rig.position - whole.position).max() < 2e-4
    assert rig.gate.state(rig.now).plan_deviation < 1e-3
    rig.check()


def test_a_chunk_acts_at_the_next_tick_with_most_of_its_check_still_to_come() -> None:
    rig = SlicedRig()
    rig.follow()
    assert rig.send()
    Rig.tick(rig)
    assert rig.gate.plan_id == (rig.source, rig.number)
    assert finish(rig) > 2


def test_without_calls_for_slices_the_ticks_do_them() -> None:
    rig = SlicedRig()
    rig.slices = 0
    rig.follow()
    assert rig.send()
    rig.send_chunks = False
    # Unless the plan had become whole it would end now.
    rig.run(2 * HEAD)
    assert rig.results[-1].mode is Mode.NOMINAL
    assert not rig.gate.check_slice(rig.now)


class StalledRig(SlicedRig):
    """Once stalled, no slice of a check is done: each tick is told that one was."""

    stalled = False

    def tick(self, after: float | None = None) -> Any:
        if self.stalled:
            self.slices, self.gate._ticks.sliced = 0, True
        return super().tick(after)


def test_a_plan_whose_check_is_never_finished_ends_early_in_hold() -> None:
    rig = StalledRig()
    rig.follow()
    rig.send()
    rig.stalled, rig.send_chunks = True, False
    assert rig.run(2 * HEAD).reasons == ("plan_ran_out",)
    rig.check()


def leaving(rig: Rig) -> ActionChunk:
    """A chunk whose later rows leave the box, the last one farthest."""
    chunk = rig.chunk(rows=40)
    chunk.actions[15:, 0] += 0.02 * np.arange(25)
    return chunk


def test_a_fault_found_in_a_later_slice_drops_the_chunk_and_holds_the_arm() -> None:
    side = float(tool_at(MIDDLE + 0.5 * np.eye(7)[0])[1])
    rig = SlicedRig(limits=spaced(Box("box", (-2, -2, -2), (2, side, 2))), plan=sweep(0.1))
    rig.slices = 100
    rig.follow()
    rig.gate.drain_interventions()
    chunk = leaving(rig)
    before = rig.gate.state(rig.now)
    assert rig.gate.on_chunk(chunk, rig.now, in_slices=True)
    finish(rig)
    after = rig.gate.state(rig.now)
    assert after.chunks_accepted == before.chunks_accepted
    assert after.chunks_rejected == before.chunks_rejected + 1
    found = rig.gate.drain_interventions()
    assert reasons(found) == ["chunk_workspace"]
    assert "row 39" in found[0].message
    assert rig.gate.plan_id == ("", 0)
    rig.send_chunks = False
    assert rig.tick().mode is Mode.HOLD
    rig.come_to_rest()
    check(rig)


def test_a_first_row_outside_the_workspace_is_refused_at_once() -> None:
    side = float(tool_at(MIDDLE + 0.45 * np.eye(7)[0])[1])
    rig = SlicedRig(limits=spaced(Box("box", (-2, -2, -2), (2, side, 2))), plan=sweep(0.01))
    rig.follow()
    chunk = rig.chunk()
    chunk.actions[:, 0] += 0.46
    assert not rig.gate.on_chunk(chunk, rig.now, in_slices=True)
    assert reasons(rig.gate.drain_interventions())[-1] == "chunk_workspace"


def test_a_refused_chunk_leaves_the_check_of_the_one_before_going() -> None:
    rig = SlicedRig()
    rig.follow()
    rig.send()
    number = rig.number
    assert not rig.send(number=0)
    assert finish(rig) > 1
    assert rig.gate.plan_id == (rig.source, number)

"""A recording once more through signals, predictor and gate, in lock-step on its own clock.

The gate's time: with a trace it is told what it was told live, call by call. Without one it ticks
where the recorded commands were received, else at its own rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from salus_ros.nodes import topics
from salus_ros.replay.clocked_player import ClockedPlayer
from salus_ros.replay.outputs import Outputs
from salus_ros.replay.plans import Plans
from salus_ros.replay.player import Through
from salus_ros.replay.policy_stage import PolicyStage, Take
from salus_ros.replay.recorded_run import RecordedRun
from salus_ros.replay.settings import Settings
from salus_ros.replay.trace import Trace
from salus_ros.replay.traced_player import TracedPlayer


def replay(
    run: RecordedRun,
    settings: Settings,
    through: Through | None = None,
    trace: Trace | None = None,
    own_rate: bool = False,
    policy: Callable[[Take], PolicyStage] | None = None,
) -> Outputs:
    """Replay a recording. Raises BagError.

    trace: what the gate was told live. own_rate: without one, ticks never come from commands.
    policy: makes the stage whose chunks take the place of the recorded ones.
    """
    through = through or Through()
    outputs = Outputs()
    plans = Plans(run.events, settings)
    if plans.source == topics.JOINT_COMMANDS and policy is None:
        # Without a policy there are no steps of one that detectors or predictor could judge.
        settings = replace(settings, detectors_path=None, model=None)
    outputs.plans_from = plans.source
    player = (
        TracedPlayer(run, settings, through, outputs, plans, trace)
        if trace is not None and through.supervisor and policy is None
        else ClockedPlayer(run, settings, through, outputs, plans, own_rate, policy)
    )
    player.play()
    player.finish()
    return outputs

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
from salus_ros.replay.player import ONLY_GATE, Player, Through
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
    if trace is not None and through.supervisor and policy is None:
        _play(TracedPlayer(run, settings, through, outputs, plans, trace))
    elif policy is not None or not through.supervisor:
        _play(ClockedPlayer(run, settings, through, outputs, plans, own_rate, policy))
    else:
        _play_in_turn(run, settings, through, outputs, plans, own_rate)
    return outputs


def _play(player: Player) -> None:
    player.play()
    player.finish()


def _play_in_turn(
    run: RecordedRun,
    settings: Settings,
    through: Through,
    outputs: Outputs,
    plans: Plans,
    own_rate: bool,
) -> None:
    """The signals' side of the whole recording, then the gate's.

    What the gate decides doesn't change a recording's signals, and all predictions at once take a
    quarter of their time one by one. The gate hears each of them when its signals were due.
    """
    if through.signals or through.predictor:
        _play(ClockedPlayer(run, settings, through.without_gate, outputs, plans, own_rate))
    again = Plans(run.events, settings)
    gate = ClockedPlayer(run, settings, ONLY_GATE, outputs, again, own_rate)
    if through.predictor and settings.model is not None:
        gate.hear(outputs.predictions if settings.gate_hears_predictor else [])
    _play(gate)

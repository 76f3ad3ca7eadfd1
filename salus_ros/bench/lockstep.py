"""How much faster than real time the graph runs in lock-step, with and without rendering."""

from __future__ import annotations

from collections.abc import Callable

from salus_ros.sim.lockstep_series import run_series, times_real_time
from salus_ros.sim.series import episode_series
from salus_ros.sim.world import CAMERAS

POLICY = "scripted_expert"


def measure(episodes: int, on_episode: Callable[[object], None]) -> dict[str, object]:
    """Run the same episodes with no camera and with both rendered for each inference.

    Returns times_real_time of each (rig seconds per wall second) and the successes.
    """
    series = episode_series(episodes, seed=1)
    # The first episode pays for imports, caches and the OpenGL context.
    run_series(series[:1], POLICY, cameras=CAMERAS)
    results: dict[str, object] = {"episodes": episodes, "policy": POLICY}
    for name, cameras in (("without_rendering", ()), ("with_both_cameras", CAMERAS)):
        runs = run_series(series, POLICY, cameras=cameras, on_episode=on_episode)
        results[name] = {
            "times_real_time": round(times_real_time(runs), 2),
            "successes": sum(run.status.success for run in runs),
        }
    return results

"""Episodes, labels, splits: what is learned from what, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from prediction_episodes import PERIOD, made_up, many

from salus_ros.prediction.labels import step_labels
from salus_ros.prediction.layout import HORIZONS
from salus_ros.prediction.splits import purpose, split_episodes
from salus_ros.signals.layout import SignalError


def test_a_step_is_positive_where_the_failure_begins_within_the_horizon_and_none_after_it():
    episode = made_up(1, True, steps=60, failure_type="drop", onset=1.5, end=2.0)
    labels = step_labels(episode)
    assert labels.shape == (45, 4, 4)
    assert not labels[:, :, [0, 2, 3]].any()
    ahead = 1.5 - np.arange(45) * PERIOD
    for h, horizon in enumerate(HORIZONS):
        assert labels[:, h, 1].tolist() == (ahead <= horizon + 1e-6).tolist()
    assert labels[:, 0, 1].sum() == 6 and labels[:, 3, 1].sum() == 15


def test_a_success_has_no_positive_step():
    assert not step_labels(made_up(2)).any()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"signals": np.zeros((90, 18), np.float32)}, "18-value layout"),
        ({"signals": np.zeros((0, 12), np.float32)}, "no signals"),
        ({"layout_version": 7}, "layout 7"),
        ({"valid": np.zeros(3, np.uint16)}, "3 validity bits"),
        ({"times": np.arange(90)[::-1].astype(float)}, "don't rise"),
        ({"failure_type": "boredom", "onset": 1.0}, "boredom"),
        ({"failure_type": "drop", "onset": -1.0}, "don't agree"),
        ({"success": False}, "cut off"),
    ],
)
def test_an_episode_that_can_not_be_used_is_refused_in_one_line(fields, told):
    with pytest.raises(SignalError, match=told) as error:
        replace(made_up(3), **fields)
    assert "\n" not in str(error.value)


def test_no_episode_and_no_start_is_in_two_splits_and_order_makes_no_difference():
    episodes = many(300)
    # The disturbed twins of all, from the same starts.
    episodes += [
        made_up(e.seed, e.failed, disturbance=name, steps=91 + i)
        for e in episodes[:150]
        for i, name in enumerate(("latency", "block_pushed"))
    ]
    splits = split_episodes(episodes)
    starts = [{e.start for e in group} for group in splits.by_name().values()]
    names = list(splits.by_name())
    for i, one in enumerate(starts):
        for j, other in enumerate(starts[:i]):
            assert not one & other or {names[i], names[j]} == {"test", "unseen"}
    again = split_episodes(episodes[::-1])
    for name, group in splits.by_name().items():
        assert {e.fingerprint for e in group} == {e.fingerprint for e in again.by_name()[name]}
    assert {e.disturbance for e in splits.unseen} == {"block_pushed"}
    used = (*splits.train, *splits.validation, *splits.calibration, *splits.conformal, *splits.test)
    assert "block_pushed" not in {e.disturbance for e in used}
    assert len(used) + len(splits.unseen) + len(splits.left_out) == len(episodes)


def test_splits_get_their_shares_and_stay_when_episodes_are_added():
    few, more = split_episodes(many(100)), split_episodes(many(400))
    assert {e.fingerprint for e in few.test} <= {e.fingerprint for e in more.test}
    assert 80 <= len(more.conformal) <= 120 and 95 <= len(more.train) <= 145
    # Frozen: another hash would move episodes of recorded data between splits.
    found = [purpose(f"pick up the red block|{seed}") for seed in range(4)]
    assert found == ["train", "conformal", "validation", "train"]


def test_copies_other_robots_and_failures_from_the_start_are_left_out_with_the_reason():
    base = made_up(4, robot="panda")
    late = replace(made_up(5, True, robot="panda"), onset=0.0)
    others = [
        replace(base, source="copy"),
        replace(made_up(6), robot="fr3", source="other"),
        replace(made_up(7, robot="panda"), step_period=0.1, source="slow"),
        replace(late, source="late"),
    ]
    left_out = dict(split_episodes([base, *others]).left_out)
    assert "the same episode" in left_out["copy"]
    assert "'fr3'" in left_out["other"] and "'panda'" in left_out["other"]
    assert "0.1 s" in left_out["slow"]
    assert "before its first step" in left_out["late"]


def test_nothing_usable_is_an_error():
    with pytest.raises(SignalError, match="no episode can be used"):
        split_episodes([])

"""Rows scored one by one, as the gate does, get the scores of the episode that they make."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from salus_ros.supervision.detectors.models import fit_models
from salus_ros.supervision.detectors.row_scores import RowScores
from salus_ros.supervision.detectors.rows import Block, Episode

RANGES = np.array([4.0, 4.0, 1.0])


def motion(seed):
    """120 rows of three dimensions that go somewhere and turn back."""
    rng = np.random.default_rng(seed)
    phases = np.linspace(0, 3, 120)[:, None] + rng.uniform(0, 3, 3)
    return np.sin(phases) * rng.uniform(0.2, 1.0, 3)


MODELS = fit_models([Episode(motion(seed)).block() for seed in range(10)], RANGES)


@given(seed=st.integers(0, 1000), scale=st.sampled_from([0.0, 0.01, 1.0]))
def test_rows_get_the_scores_of_their_episode(seed, scale):
    rng = np.random.default_rng(seed)
    actions = motion(seed) + scale * rng.standard_normal((120, 3))
    actions[40:60] = actions[40]
    steps = np.diff(actions, axis=0, prepend=actions[:1])
    revisions = (rng.random((120, 1)) < 0.2) * rng.random((120, 3))
    whole = Block(actions, steps, rng.random(120) < 0.3, revisions)
    scores = RowScores(MODELS)
    state, found = scores.fresh(), []
    for row in zip(*(a.tolist() for a in (actions, steps, whole.stuck, revisions)), strict=True):
        one, state = scores.score(*row, state)
        found.append(one)
    np.testing.assert_allclose(found, MODELS.score_episode(whole), rtol=1e-9, atol=1e-9)

"""Rows scored one by one, in blocks, or all at once get the same scores."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from salus_ros.supervision.detectors.models import fit_models
from salus_ros.supervision.detectors.rows import Block, Episode

RANGES = np.array([4.0, 4.0, 1.0])


def motion(seed):
    """120 rows of three dimensions that go somewhere and turn back."""
    rng = np.random.default_rng(seed)
    phases = np.linspace(0, 3, 120)[:, None] + rng.uniform(0, 3, 3)
    return np.sin(phases) * rng.uniform(0.2, 1.0, 3)


MODELS = fit_models([Episode(motion(seed)).block() for seed in range(10)], RANGES)


@given(
    seed=st.integers(0, 1000),
    cuts=st.lists(st.integers(1, 119), max_size=30, unique=True).map(sorted),
    scale=st.sampled_from([0.0, 0.01, 1.0]),
)
def test_how_rows_are_split_into_blocks_makes_no_difference(seed, cuts, scale):
    rng = np.random.default_rng(seed)
    actions = motion(seed) + scale * rng.standard_normal((120, 3))
    # Some repeat, so that rests begin and end on both sides of a cut.
    actions[40:60] = actions[40]
    steps = np.diff(actions, axis=0, prepend=actions[:1])
    revisions = (rng.random((120, 1)) < 0.2) * rng.random((120, 3))
    whole = Block(actions, steps, rng.random(120) < 0.3, revisions)
    expected = MODELS.score_episode(whole)
    carried, parts = MODELS.fresh(), []
    for begin, end in zip([0, *cuts], [*cuts, 120], strict=True):
        part = slice(begin, end)
        arrays = (whole.actions, whole.steps, whole.stuck, whole.revisions)
        block = Block(*(array[part] for array in arrays))
        scores, carried = MODELS.score(block, carried)
        parts.append(scores)
    np.testing.assert_allclose(np.concatenate(parts), expected, rtol=1e-9, atol=1e-9)

"""Step by step, whole recordings and batches give the same numbers, whatever comes in."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_ros.interfaces import ActionDistribution
from salus_ros.signals.batch import BatchSignalExtractor
from salus_ros.signals.calibration import Calibration, fit_latents
from salus_ros.signals.config import Normalisation, SignalConfig
from salus_ros.signals.extractor import SignalExtractor
from salus_ros.signals.layout import ENTROPY, MARGIN, MAX_PROB, SIGNALS
from salus_ros.signals.recording import Recording, recording_signals

DIMS, JOINTS, WIDTH = 3, 2, 6
BAD = (np.nan, np.inf, -np.inf, 1e200)
CALIBRATION = Calibration(
    "panda", *fit_latents(np.random.default_rng(5).normal(size=(60, WIDTH)), components=4)
)


@st.composite
def recordings(draw):
    """A recording with holes, chunks of any length and resets."""
    count = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([1e-6, 1.0, 1e6]))
    share = draw(st.sampled_from([0.0, 0.1, 0.5]))

    def holed(shape):
        values = rng.normal(scale=scale, size=shape)
        holes = rng.random(shape) < share / shape[-1]
        values[holes] = rng.choice(BAD, size=int(holes.sum()))
        return values

    chunks = np.cumsum(rng.random(count) < draw(st.sampled_from([0.05, 0.5, 1.0])))
    resets = rng.random(count) < draw(st.sampled_from([0.0, 0.1]))
    chunks = chunks + np.cumsum(resets)  # A reset brings a new chunk.
    if draw(st.booleans()):
        chunks[rng.random(count) < 0.2] = -1
    total = int(chunks.max(initial=0)) + 1
    latents = holed((total, WIDTH))
    latents[rng.random(total) < share] = np.nan
    distributions = tuple(
        None if rng.random() < share else ActionDistribution(8, rng.random(), rng.random())
        for _ in range(total)
    )
    joints = holed((count, JOINTS))
    return Recording(
        actions=holed((count, DIMS)),
        chunk_of_step=chunks,
        latents=latents,
        distributions=distributions,
        joints=joints,
        predicted_joints=holed((count, JOINTS)),
        resets=resets,
    )


def configuration(normalised):
    norm = Normalisation.of_mean_std(np.full(DIMS, 0.3), np.full(DIMS, 2.0)) if normalised else None
    return SignalConfig(
        DIMS, normalisation=norm, joint_low=-np.ones(JOINTS), joint_high=2 * np.ones(JOINTS)
    )


def chunk_begins(recording, t):
    """Whether a stream in step hands over a chunk before step t."""
    chunks = recording.chunk_of_step
    return t == 0 or recording.resets[t] or chunks[t] != chunks[t - 1]


def stepwise(config, recording, calibration):
    extractor = SignalExtractor(config, calibration)
    vectors = []
    for t, action in enumerate(recording.actions):
        if recording.resets[t]:
            extractor.reset()
        if chunk_begins(recording, t):
            chunk = recording.chunk_of_step[t]
            known = chunk >= 0
            extractor.on_chunk(
                recording.latents[chunk] if known else None,
                recording.distributions[chunk] if known else None,
            )
        vectors.append(extractor.step(action, recording.joints[t], recording.predicted_joints[t]))
    return np.array([v.values for v in vectors]), np.array([v.valid for v in vectors])


def in_batch(config, streams, calibration):
    """The same streams, one row each, in step; a shorter one goes on with holes."""
    extractor = BatchSignalExtractor(config, len(streams), WIDTH, calibration)
    longest = max(len(r.actions) for r in streams)
    out = []
    for t in range(longest):
        live = [t < len(r.actions) for r in streams]
        ends = [r.resets[t] if on else False for r, on in zip(streams, live, strict=True)]
        extractor.reset(np.array(ends))
        begins = [on and chunk_begins(r, t) for r, on in zip(streams, live, strict=True)]
        latents, uncertain = np.full((len(streams), WIDTH), np.nan), []
        for row, r in enumerate(streams):
            chunk = r.chunk_of_step[t] if live[row] else -1
            if chunk >= 0:
                latents[row] = r.latents[chunk]
            distribution = r.distributions[chunk] if chunk >= 0 else None
            uncertain.append(
                (distribution.softmax_entropy, distribution.max_softmax_prob)
                if distribution
                else (np.nan, np.nan)
            )
        extractor.on_chunks(latents, *np.array(uncertain).T, which=np.array(begins))

        def rows(name, width, t=t, live=live):
            lost = np.full(width, np.nan)
            return np.array(
                [getattr(r, name)[t] if on else lost for r, on in zip(streams, live, strict=True)]
            )

        out.append(
            extractor.step(
                rows("actions", DIMS), rows("joints", JOINTS), rows("predicted_joints", JOINTS)
            )
        )
    return out


def assert_same(left, right):
    assert np.array_equal(left[1], right[1])
    np.testing.assert_allclose(left[0], right[0], rtol=1e-6, atol=1e-6)


@settings(max_examples=300, deadline=None)
@given(recordings(), st.booleans(), st.booleans())
def test_a_whole_recording_equals_its_steps(recording, normalised, calibrated):
    config = configuration(normalised)
    calibration = CALIBRATION if calibrated else None
    assert_same(
        recording_signals(config, recording, calibration),
        stepwise(config, recording, calibration),
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(recordings(), min_size=1, max_size=4), st.booleans(), st.booleans())
def test_a_batch_equals_its_streams(streams, normalised, calibrated):
    config = configuration(normalised)
    calibration = CALIBRATION if calibrated else None
    out = in_batch(config, streams, calibration)
    for row, recording in enumerate(streams):
        steps = len(recording.actions)
        batch = np.array([v[row] for v, _ in out[:steps]]), np.array([b[row] for _, b in out])
        assert_same((batch[0], batch[1][:steps]), stepwise(config, recording, calibration))


@settings(max_examples=150, deadline=None)
@given(recordings(), st.booleans())
def test_nothing_unknown_ever_leaves_and_bounds_hold(recording, calibrated):
    values, valid = recording_signals(
        configuration(False), recording, CALIBRATION if calibrated else None
    )
    assert values.shape == (len(recording.actions), SIGNALS) and valid.dtype == np.uint16
    assert np.isfinite(values).all()
    assert (values >= 0.0).all()
    off = (valid[:, None] >> np.arange(SIGNALS) & 1) == 0
    assert (values[off] == 0.0).all()
    assert (values[:, [ENTROPY, MAX_PROB]] <= 1.0).all()
    inside = (np.abs(recording.joints) <= 1.0).all(axis=1)
    assert (values[inside, MARGIN] <= 0.5).all()

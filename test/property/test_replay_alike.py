"""Messages read together say what each says by itself, whatever is mixed in between."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_typestore

from salus_ros import message_reading
from salus_ros.nodes import topics
from salus_ros.prediction.layout import PredictionResult
from salus_ros.replay import alike
from salus_ros.replay.bag_reader import RawMessage
from salus_ros.replay.event_reader import EventReader
from salus_ros.replay.message_types import typestore
from salus_ros.replay.messages import JOINTS, MessageEncoder
from salus_ros.replay.topic_map import TopicMap
from salus_ros.signals.layout import SIGNAL_NAMES, SignalVector
from salus_ros.signals.monitor import StepSignals
from salus_ros.signals.step_clock import DueStep

PANDA = tuple(f"panda_joint{i}" for i in range(1, 8))
NUMBERS = st.floats(allow_nan=False, width=64)
SINGLES = st.floats(allow_nan=False, width=32)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
STAMPS = st.integers(0, 2**31 - 1)


def joint_message(names, columns, stamp, frame):
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](sec=stamp, nanosec=stamp % 1_000_000_000)
    header = types["std_msgs/msg/Header"](stamp=time, frame_id=frame)
    return types[JOINTS](header, list(names), *columns)


@st.composite
def joint_messages(draw):
    """A joint state, its sizes not always those of its names."""
    names = draw(st.permutations([*PANDA, "panda_gripper", "elbow"]))
    sizes = draw(
        st.sampled_from([(9, 9, 9), (9, 9, 0), (9, 0, 0), (9, 0, 9), (9, 8, 0), (0, 9, 9)])
    )
    columns = [np.array(draw(st.lists(NUMBERS, min_size=n, max_size=n))) for n in sizes]
    return joint_message(names, columns, draw(STAMPS), draw(TEXTS))


def read(topic, kind, datas):
    reader = EventReader(TopicMap(), PANDA, "panda_gripper", (0.0, 0.08), images=False)
    reader.wanted({topic: kind, topics.JOINT_STATES: JOINTS})
    raws = [RawMessage(topic, kind, n, data, typestore()) for n, data in enumerate(datas)]
    return {event.time: event.content for event in reader.events(raws)}, reader.problems


def encoded(message, kind=JOINTS):
    return bytes(typestore().serialize_cdr(message, kind))


@given(st.lists(joint_messages(), min_size=1, max_size=4), st.data())
def test_joint_states_of_mixed_forms_are_read_as_each_by_itself(messages, data):
    order = data.draw(st.lists(st.sampled_from(range(len(messages))), min_size=1, max_size=9))
    found, problems = read(topics.JOINT_STATES, JOINTS, [encoded(messages[i]) for i in order])
    for place, index in enumerate(order):
        try:
            expected = message_reading.joint_state(messages[index], PANDA, "panda_gripper")
        except ValueError as error:
            assert place not in found and problems[topics.JOINT_STATES]
            assert "values" in str(error)
            continue
        told = found[place]
        assert told.stamp == expected.stamp and told.gripper == expected.gripper
        for name in ("positions", "velocities", "efforts"):
            assert getattr(told, name).tobytes() == getattr(expected, name).tobytes()


@given(joint_messages(), st.integers(0, 400))
def test_a_joint_state_that_is_cut_off_is_left_out_and_told(message, kept):
    data = encoded(message)
    found, problems = read(topics.JOINT_STATES, JOINTS, [data[:kept]] * 2)
    assert kept >= len(data) or (not found and problems)


def test_joint_states_without_a_wanted_joint_say_which():
    message = joint_message(PANDA[:6], [np.zeros(6)] * 3, 1, "")
    found, problems = read(topics.JOINT_STATES, JOINTS, [encoded(message)] * 3)
    assert not found and "lacks panda_joint7" in problems[topics.JOINT_STATES]


def test_a_type_that_the_bag_does_not_define_whole_has_no_form():
    store = get_typestore(Stores.EMPTY)
    store.fielddefs[JOINTS] = typestore().fielddefs[JOINTS]  # without its header's
    message = joint_message(PANDA, [np.zeros(7)] * 3, 1, "")
    assert alike.groups([encoded(message)] * 2, JOINTS, store) == ([], [0, 1])


def test_joint_states_of_another_type_are_refused_whatever_their_fields():
    data = encoded(joint_message(PANDA, [np.zeros(7)] * 3, 1, ""))
    store = typestore()
    store.fielddefs["other/msg/JointState"] = store.fielddefs[JOINTS]
    try:
        found, problems = read(topics.JOINT_STATES, "other/msg/JointState", [data] * 2)
    finally:
        del store.fielddefs["other/msg/JointState"]
    assert not found and "is of type other/msg/JointState" in problems[topics.JOINT_STATES]


@pytest.mark.parametrize("count", [1, 3 * alike.FORMS_MAX])
def test_many_forms_of_one_length_are_all_read(count):
    """Names of joints of no interest differ from message to message."""
    datas = [
        encoded(joint_message([*PANDA, f"x{n:05d}"], [np.full(8, float(n))] * 3, n, ""))
        for n in range(count)
    ]
    found, problems = read(topics.JOINT_STATES, JOINTS, datas)
    assert not problems
    assert [found[n].positions[0] for n in range(count)] == list(range(count))


@given(st.lists(st.tuples(TEXTS, STAMPS, st.lists(SINGLES, min_size=12, max_size=12))))
def test_signals_come_out_as_they_went_in(steps):
    encoder = MessageEncoder(PANDA, "panda_gripper")
    told = [
        StepSignals(
            DueStep(source, n, n + 1, stamp, stamp, np.zeros(8)),
            SignalVector(np.array(values, np.float32), n % 4096),
        )
        for n, (source, stamp, values) in enumerate(steps)
    ]
    datas = [encoder.encode(step, 0) for step in told]
    found, _ = read(topics.SIGNALS, "salus_msgs/msg/Signals", [data for _, _, data in datas])
    for n, step in enumerate(told):
        ids = step.step.source_id, step.step.chunk_number, step.step.step
        assert (found[n].source_id, found[n].chunk_number, found[n].step) == ids
        assert found[n].observation_stamp == step.step.observation_stamp
        assert found[n].signals.values.tobytes() == step.signals.values.tobytes()
        assert found[n].signals.valid == step.signals.valid and len(SIGNAL_NAMES) == 12


@given(st.lists(st.tuples(TEXTS, st.integers(0, 3), st.booleans(), SINGLES), max_size=5))
def test_predictions_come_out_as_they_went_in(told):
    encoder = MessageEncoder(PANDA, "panda_gripper")
    results = [
        PredictionResult(
            source_id=source,
            chunk_number=n,
            step=2 * n,
            observation_stamp=3 * n,
            valid=valid,
            horizons=tuple(0.25 * h for h in range(horizons)),
            failure_types=("drop", "miss"),
            probabilities=np.full((horizons, 2), number, np.float32),
            episode_failure_probability=number,
            alarm=not valid,
        )
        for n, (source, horizons, valid, number) in enumerate(told)
    ]
    datas = [encoder.encode(result, 0)[2] for result in results]
    found, problems = read(topics.FAILURE_PREDICTION, "salus_msgs/msg/FailurePrediction", datas)
    assert not problems and len(found) == len(results)
    for n, result in enumerate(results):
        assert found[n].probabilities.tobytes() == result.probabilities.tobytes()
        for name in ("source_id", "chunk_number", "step", "observation_stamp", "horizons"):
            assert getattr(found[n], name) == getattr(result, name)
        assert found[n].failure_types == result.failure_types
        assert (found[n].valid, found[n].alarm) == (result.valid, result.alarm)
        assert found[n].episode_failure_probability == result.episode_failure_probability

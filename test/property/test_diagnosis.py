"""Diagnostics show trouble at once and good news late."""

from hypothesis import given
from hypothesis import strategies as st

from salus_ros.diagnosis import MEMORY, Diagnosis, Level, Memory

steps = st.lists(st.tuples(st.floats(0.0, 5.0), st.sampled_from(Level)), min_size=1, max_size=40)


@given(steps)
def test_the_worst_of_the_last_seconds_is_shown(steps):
    memory, now, history = Memory(), 0.0, []
    for number, (pause, level) in enumerate(steps):
        now += pause
        history.append((now, level))
        shown = memory.add(Diagnosis("gate", level, str(number)), now)
        recent = [(one, index) for index, (at, one) in enumerate(history) if now - at <= MEMORY]
        worst = max(one for one, _ in recent)
        assert shown.level == worst >= level
        assert shown.message == str(max(index for one, index in recent if one == worst))

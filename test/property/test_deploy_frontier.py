"""Frontier and choice, whatever was measured."""

import math

from hypothesis import given
from hypothesis import strategies as st

from salus_ros.deploy.axes import AXES, make_budget
from salus_ros.deploy.frontier import choose, costs, dominates, frontier
from salus_ros.deploy.outcome import age_steps

NAMES = ("latency_p50", "weights_mb", "rmse", "cosine")
VALUES = st.sampled_from([0.1, 0.2, 0.5, 1.0, 2.0])
CONFIGURATIONS = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)), max_size=12)
LIMITS = st.dictionaries(st.sampled_from(NAMES), VALUES)


@given(CONFIGURATIONS)
def test_the_frontier_dominates_all_else_and_nothing_on_it(found):
    edge = frontier(found)
    points = [costs(c, NAMES) for c in found]
    assert bool(edge) == bool(found)
    for i, point in enumerate(points):
        beaten = any(dominates(points[j], point) for j in edge)
        assert beaten != (i in edge)


@given(CONFIGURATIONS, LIMITS, st.sampled_from(["latency_p50", "weights_mb", "rmse"]))
def test_the_best_keeps_all_limits_and_none_that_does_is_better(found, limits, minimize):
    budget = make_budget(minimize, limits)
    choice = choose([(c, {}) for c in found], budget)

    def keeps(c):
        return all(c[n] >= v if AXES[n].larger_is_better else c[n] <= v for n, v in limits.items())

    feasible = [i for i, c in enumerate(found) if keeps(c)]
    assert (choice.best is None) == (not feasible)
    if feasible:
        assert choice.best in feasible
        assert found[choice.best][minimize] == min(found[i][minimize] for i in feasible)


@given(CONFIGURATIONS.filter(len), LIMITS.filter(len))
def test_where_nothing_fits_the_nearest_misses_by_least(found, limits):
    budget = make_budget("rmse", limits)
    choice = choose([(c, {}) for c in found], budget)
    if choice.best is not None:
        assert choice.binding is None
        return

    def misses(c):
        return max(limit.violation(c, {}) for limit in budget.limits)

    binding = choice.binding
    nearest = found[binding["nearest"]]
    assert misses(nearest) == min(misses(c) for c in found)
    assert math.isclose(binding["by"], abs(nearest[binding["axis"]] - binding["limit"]))
    assert limits[binding["axis"]] == binding["limit"]


@given(st.floats(0.01, 500.0), st.integers(1, 50), st.floats(0.005, 0.1), st.integers(50, 99))
def test_an_observation_is_as_old_as_horizon_and_latency_make_it(latency, horizon, step, rows):
    age = age_steps(latency, horizon, step, rows)
    assert age > horizon - 1
    assert age * step >= latency * 1e-3 - 1e-9
    assert age_steps(latency, horizon + 1, step, rows) >= age
    assert age <= rows or latency * 1e-3 / step > rows - 1

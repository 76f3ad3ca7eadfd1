"""The policy asked anew on a recording: which chunk would have been executing when."""

import json

import pytest
from command_line import invoke

from salus_ros.replay.delays import delay_model
from salus_ros.replay.errors import BagError
from salus_ros.sim.rollouts import RolloutOptions, collect

pytest.importorskip("torch", reason="the flow policy needs torch")

from flow_policies import saved


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """A lock-step episode of a tiny flow policy, with the images that it saw."""
    folder = tmp_path_factory.mktemp("policy")
    checkpoint = saved(folder / "checkpoint")
    options = RolloutOptions(
        "flow", 1, nominal_share=1.0, policy_options={"checkpoint": checkpoint}, images=1
    )
    collect(options, 1, folder / "bags", 1, lambda *_: None)
    return folder / "bags" / "episode_00000", checkpoint


def replayed(bag, *options):
    path, checkpoint = bag
    arguments = ("--policy", checkpoint, "--jobs", "1", "--json", "-", *options)
    code, said = invoke("replay", path, *arguments)
    return code, json.loads(said[said.index("{\n") :])


@pytest.mark.parametrize("delay", ["fixed:0.1", "recorded"])
def test_the_same_twice_whatever_decides_the_delay(bag, delay):
    code, first = replayed(bag, "--delay", delay, "--seed", "3")
    assert code == 0, first["failed"]
    assert replayed(bag, "--delay", delay, "--seed", "3")[1] == first
    told = first["inputs"]["policy"]
    assert told["delay"] == delay
    assert any(name.startswith("policy/") for name in first["inputs"]["weights"])
    apart = first["bags"][0]["differences"]
    assert apart["commands"]["compared"] > 100 and apart["commands"]["joints"]


def test_a_longer_delay_makes_older_chunks(bag):
    ages = [
        replayed(bag, "--delay", f"fixed:{delay}")[1]["scores"]["observation_age"]["p50"]
        for delay in (0.03, 0.2)
    ]
    assert ages[1] > ages[0] + 0.05


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--delay", "soon"), "delay 'soon': give fixed:SECONDS"),
        (("--delay", "fixed:-1"), "delay 'fixed:-1': give fixed:SECONDS"),
        (("--policy", "nobody"), "policy 'nobody' is no path, nor one of scripted_expert, flow"),
        (("--policy-options", "["), "--policy-options is no JSON"),
    ],
)
def test_a_wrong_option_is_one_line(bag, options, says):
    path, checkpoint = bag
    code, said = invoke("replay", path, "--policy", checkpoint, *options)
    assert code == 2 and says in said


def test_delays_are_drawn_from_what_was_recorded_by_the_seed():
    recorded = [0.01, 0.05, 0.2]
    drawn = [delay_model("recorded", recorded, 7)(0.0) for _ in range(2)]
    assert drawn[0] == drawn[1]
    model = delay_model("recorded", recorded, 7)
    assert {model(0.0) for _ in range(60)} == {10_000_000, 50_000_000, 200_000_000}
    assert delay_model("fixed:0.1", [], 0)(5.0) == 100_000_000
    assert delay_model("measured", [], 0)(0.25) == 250_000_000
    with pytest.raises(BagError, match="no chunk whose delay could be drawn"):
        delay_model("recorded", [], 0)

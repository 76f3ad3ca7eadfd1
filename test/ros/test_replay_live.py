"""What the gate did in the running graph comes out again, to the bit, from the bag alone."""

import json
import subprocess
import sys

import yaml

from salus_ros.resources import config_file

PATIENCE = 110.0


def run(*options):
    command = [sys.executable, "-m", "salus_ros.cli.main", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_gate_decisions_are_those_that_were_recorded_live(own_domain, tmp_path):
    """One episode through DDS, whatever becomes of it: a busy machine makes the better test."""
    config = yaml.safe_load(config_file("sim_panda.yaml").read_text())
    # The expert starts at once, and has none of the flow policy's options.
    config["vla_policy"] = {
        "ros__parameters": {"policy": "scripted_expert", "execution_horizon": 10}
    }
    (tmp_path / "sim.yaml").write_text(yaml.safe_dump(config))
    options = ("--config", tmp_path / "sim.yaml", "--instruction", "reach above the red block")
    demo = run("demo", "--episodes", 1, *options, "--record", tmp_path / "bag")
    assert (tmp_path / "bag" / "metadata.yaml").is_file(), demo.stderr
    # With the predictions that the gate heard, and with those made anew.
    for stages in ("supervisor", "signals,predictor,supervisor"):
        told = run("replay", tmp_path / "bag", "--through", stages, "--json", tmp_path / "json")
        assert told.returncode == 0, told.stdout + told.stderr
        decided_alike(json.loads((tmp_path / "json").read_text())["bags"][0])


def decided_alike(report):
    assert report["ticks"]["from"] == "trace"
    apart = report["differences"]
    assert apart["commands"]["compared"] > 100
    assert apart["commands"]["identical"], apart["commands"]
    assert apart["interventions"]["identical"], apart["interventions"]
    assert not [note for note in report["notes"] if "that the bag lacks" in note]

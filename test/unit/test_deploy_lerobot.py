"""`salus compile` of a LeRobot policy: its levers, what they do, and the file for the node."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from command_line import invoke

MAPPING = """
rate: 20.0
cameras: {front: observation.images.front, wrist: observation.images.wrist}
"""


@pytest.fixture
def mapping(tmp_path):
    file = tmp_path / "mapping.yaml"
    file.write_text(MAPPING)
    return file


@pytest.fixture
def subject(smolvla_folder, mapping):
    from salus_ros.deploy.subject import make_subject

    return make_subject(str(smolvla_folder / "policy"), "cpu", 3, str(mapping))


def test_a_smolvla_offers_precision_steps_and_horizon(subject):
    grid = subject.grid()
    assert grid.values["precision"] == ("float32", "bfloat16")
    assert grid.values["flow_steps"] == (10, 5, 2)
    assert grid.values["sampler"] == ("eager",)
    assert grid.values["execution_horizon"][-1] == subject.rows
    assert "plain matrices" in grid.left_out["precision=int8"]


def test_another_policy_offers_its_horizon(subject):
    from salus_ros.deploy.levers import Levers

    act = replace(subject, kind="act", steps=0)
    grid = act.grid()
    assert {name for name, values in grid.values.items() if len(values) > 1} == {
        "execution_horizon"
    }
    assert set(act.options(Levers())) == {"checkpoint", "mapping", "device"}


def test_a_policy_that_draws_from_pytorchs_generator_draws_the_same_again(subject, monkeypatch):
    """Else full precision would not even agree with itself."""
    import torch

    from salus_ros.deploy.levers import Levers
    from salus_ros.policy.lerobot.runners import Drawn

    built = subject.build(Levers())
    shape = 1, subject.rows, 8
    built._backend._runner = lambda _batch: Drawn(torch.randn(shape))
    monkeypatch.setattr(built._backend, "reset", lambda: None)
    first = [built(number) for number in range(2)]
    torch.randn(7)
    assert np.array_equal(built(0), first[0]) and np.array_equal(built(1), first[1])
    assert not np.array_equal(*first)


def test_measurements_of_another_mapping_are_not_taken_for_these(smolvla_folder, mapping, subject):
    from salus_ros.deploy.subject import make_subject

    mapping.write_text(MAPPING.replace("20.0", "30.0"))
    other = make_subject(str(smolvla_folder / "policy"), "cpu", 3, str(mapping))
    assert other.digest == subject.digest and other.context != subject.context


def test_a_camera_that_the_policy_has_not_is_named(smolvla_folder, mapping):
    mapping.write_text("rate: 20.0\ncameras: {front: observation.images.nose}")
    policy = smolvla_folder / "policy"
    code, said = invoke("compile", "--policy", policy, "--mapping", mapping, "--device", "cpu")
    assert code == 1 and "no image feature 'observation.images.nose'" in said


def test_a_configuration_of_a_newer_lerobot_is_one_line(smolvla_folder, mapping, tmp_path):
    folder = shutil.copytree(smolvla_folder / "policy", tmp_path / "newer")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "of_tomorrow": 1}))
    code, said = invoke("compile", "--policy", folder, "--mapping", mapping, "--device", "cpu")
    assert code == 1 and "can't be read" in said and "\n" not in said


def test_levers_cost_what_they_should(subject):
    from salus_ros.deploy.levers import Levers
    from salus_ros.deploy.measure import full_chunks, screen

    full = full_chunks(subject)
    assert full.shape[0] == 3 and full.shape[1] == subject.rows
    found = {
        levers: screen(subject, levers, full)
        for levers in (Levers(), Levers(precision="bfloat16"), Levers(flow_steps=2))
    }
    plain, half, few = found.values()
    assert plain["rmse"] == 0.0
    assert 0 < half["rmse"] < 0.05 and half["weights_mb"] < 0.7 * plain["weights_mb"]
    assert few["rmse"] > half["rmse"] and few["weights_mb"] == plain["weights_mb"]
    assert all(one["parity"]["passed"] for one in found.values())


def test_every_option_is_the_nodes(subject):
    from salus_ros.deploy.levers import Levers
    from salus_ros.policy.registry import make_backend

    options = subject.options(Levers(precision="bfloat16", flow_steps=5))
    robot = {"joint_names": subject.joint_names, "gripper_name": "gripper"}
    backend = make_backend("lerobot", {**robot, "execution_horizon": 5, **options})
    assert backend.policy.config.num_steps == 5
    prediction = backend.predict(subject.observations[0])
    assert np.isfinite(prediction.actions).all() and prediction.time_step == 50_000_000


def test_a_search_writes_a_file_that_is_measured_again(smolvla_folder, mapping, tmp_path):
    result, out = tmp_path / "result.json", tmp_path / "deploy.yaml"
    code, said = invoke(
        "compile", "--policy", smolvla_folder / "policy", "--mapping", mapping, "--device", "cpu",
        "--inputs", "2", "--calls", "10", "--processes", "2", "--cache", tmp_path / "cache",
        "--lever", "flow_steps=10", "--lever", "precision=float32", "--minimize", "latency_p50",
        "--out", out, "--json", result,
    )  # fmt: skip
    assert code == 0, said
    content = json.loads(result.read_text())
    assert content["policy"] == "lerobot" and content["picks"][0]["best"] is not None
    from salus_ros.deploy.deployment import read_deployment
    from salus_ros.deploy.levers import CompileError
    from salus_ros.deploy.verify import subject_of

    deployment = read_deployment(out)
    deployment.check_weights()
    with pytest.raises(CompileError, match="other weights"):
        replace(deployment, digest="0" * 64).check_weights()
    assert subject_of(deployment).digest == content["digest"]


def test_a_mapping_is_asked_for(smolvla_folder, mapping):
    policy = smolvla_folder / "policy"
    code, said = invoke("compile", "--policy", policy, "--device", "cpu")
    assert code == 1 and "say with --mapping" in said
    code, said = invoke("compile", "--policy", policy, "--mapping", mapping.parent / "none.yaml")
    assert code == 1 and "no such file" in said

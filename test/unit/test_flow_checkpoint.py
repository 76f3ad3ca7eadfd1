"""Checkpoints: what is written is read again; what doesn't fit is refused in one line."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from flow_policies import saved, tiny_checkpoint  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from salus_ros.policy.description import sha256  # noqa: E402
from salus_ros.policy.flow.checkpoint import (  # noqa: E402
    DESCRIPTION,
    SHIPPED,
    WEIGHTS,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from salus_ros.policy.flow.panda import panda_config  # noqa: E402


@pytest.fixture
def folder(tmp_path):
    saved(tmp_path)
    return tmp_path


def change(folder, **values):
    """Change fields of the description; a dotted name goes inside."""
    content = json.loads((folder / DESCRIPTION).read_text())
    for name, value in values.items():
        *path, last = name.split("__")
        inner = content
        for key in path:
            inner = inner[key]
        inner[last] = value
    (folder / DESCRIPTION).write_text(json.dumps(content))


def refusal(folder) -> str:
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(folder)
    line = str(error.value)
    assert "\n" not in line and str(folder) in line
    return line


def test_round_trip(tmp_path):
    checkpoint = tiny_checkpoint(seed=3)
    save_checkpoint(tmp_path, checkpoint)
    loaded = load_checkpoint(tmp_path)
    assert loaded.config == checkpoint.config and loaded.training == {"seed": 3}
    before, after = checkpoint.network.state_dict(), loaded.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    np.testing.assert_array_equal(
        loaded.normalisation.action_scale, checkpoint.normalisation.action_scale
    )


def test_missing_files_are_named(folder, tmp_path_factory):
    (folder / WEIGHTS).unlink()
    assert WEIGHTS in refusal(folder)
    assert DESCRIPTION in refusal(tmp_path_factory.mktemp("empty"))
    assert DESCRIPTION in refusal(folder / "nowhere")


def test_a_pickle_is_refused_without_being_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was loaded",))

    (tmp_path / "policy.pt").write_bytes(pickle.dumps(Bomb()))
    assert "pickle" in refusal(tmp_path)
    assert "pickle" in refusal(tmp_path / "policy.pt")
    (tmp_path / DESCRIPTION).write_text("{}")
    (tmp_path / WEIGHTS).write_bytes(pickle.dumps(Bomb()))
    assert DESCRIPTION in refusal(tmp_path)


def test_a_pickle_in_the_place_of_the_weights_is_refused(folder):
    (folder / WEIGHTS).write_bytes(pickle.dumps({"a": 1}))
    change(folder, sha256=sha256(folder / WEIGHTS))
    assert "no safetensors" in refusal(folder)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("format", 99, "format 99"),
        ("config__gripper_name", 5, "policy.json"),
        ("config__joint_names", ["a", "b"], "shape"),
        ("config__cameras", ["front"], "doesn't fit"),
        ("config__width", 32, "doesn't fit"),
        ("config__colour", "red", "colour"),
        ("normalisation__state_mean", [0.0], "state_mean"),
        ("normalisation__action_low", [0.0] * 7, "action_low"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(folder, field, value, says):
    change(folder, **{field: value})
    assert says in refusal(folder)


def test_normalisation_by_zero_is_refused(folder):
    scale = np.zeros((32, 7)).tolist()
    change(folder, normalisation__action_scale=scale)
    assert "above 0" in refusal(folder)


def test_halves_of_two_checkpoints_are_not_put_together(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    saved(other, seed=1)
    (folder / WEIGHTS).write_bytes((other / WEIGHTS).read_bytes())
    assert "isn't the one" in refusal(folder)


def test_weights_that_are_not_finite_are_refused(folder):
    state = load_file(folder / WEIGHTS)
    state["norm.weight"][0] = float("nan")
    save_file(state, folder / WEIGHTS)
    change(folder, sha256=sha256(folder / WEIGHTS))
    assert "not finite" in refusal(folder)


@pytest.mark.skipif(not (SHIPPED / WEIGHTS).exists(), reason="no weights are shipped")
def test_the_shipped_policy_is_the_rigs_and_small():
    loaded = load_checkpoint()
    assert loaded.config == panda_config()
    assert (SHIPPED / WEIGHTS).stat().st_size < 10_000_000

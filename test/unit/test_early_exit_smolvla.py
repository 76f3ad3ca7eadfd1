"""Early exit in SmolVLA's fast path, at tiny size with random weights."""

from __future__ import annotations

import pytest

CAMERAS = ("front", "wrist")


@pytest.fixture(scope="module")
def smolvla(lerobot, smolvla_folder):
    """A policy, its fast path, an observation as the pre-processor leaves it, and noise."""
    import torch

    from salus_ros.bench import smolvla_model as model
    from salus_ros.policy.lerobot.smolvla.sampler import SmolVLASampler

    policy = model.make_policy(model.smolvla_config(smolvla_folder / "vlm", model.TINY, CAMERAS))
    draw = torch.Generator().manual_seed(0)
    size = model.TINY.image
    batch = {
        f"observation.images.{c}": torch.rand(1, 3, size, size, generator=draw) for c in CAMERAS
    }
    batch["observation.state"] = torch.randn(1, model.DIMS, generator=draw)
    tokens = model.TINY.tokens
    batch["observation.language.attention_mask"] = torch.ones(1, tokens, dtype=torch.bool)
    batch["observation.language.tokens"] = torch.randint(6, 19, (1, tokens), generator=draw)
    noise = torch.randn(1, model.TINY.chunk, 32, generator=draw)
    keys = tuple(f"observation.images.{c}" for c in CAMERAS)

    def make(exits=None):
        return SmolVLASampler(policy, keys, graphs=False, exits=exits)

    return policy, make, batch, noise


@pytest.fixture(scope="module")
def narrow(smolvla):
    from salus_ros.policy.early_exit.narrowing import METHODS
    from salus_ros.policy.early_exit.smolvla_model import make_narrow

    policy, make, batch, noise = smolvla

    def run():
        policy.reset()
        policy.predict_action_chunk(dict(batch), noise=noise)

    return {method: make_narrow(make(), policy, method, run) for method in METHODS}


def rule(setting=None, width=64, layers=(1, 2)):
    import torch

    from salus_ros.policy.early_exit.cascade import ExitRule
    from salus_ros.policy.early_exit.settings import ExitSetting
    from salus_ros.policy.probe import LREProbe

    torch.manual_seed(0)
    probes = {layer: LREProbe(width, 4).eval() for layer in layers}
    plain = ExitSetting("soft", (50.0, 50.0), (0.1, 0.1), (0.5, 0.5), (0.4, 0.8))
    return ExitRule(probes, setting or plain, 4)


def actions(smolvla, narrow, exits):
    from salus_ros.policy.early_exit.smolvla_model import install

    _, make, batch, noise = smolvla
    sampler = make(exits)
    install(sampler, narrow)
    return sampler(batch, noise)


def fixed(ratio):
    from salus_ros.policy.early_exit import settings

    return rule(settings.fixed(ratio, 2))


def test_ratio_zero_is_the_full_model_to_the_bit(smolvla, narrow):
    import torch

    _, make, batch, noise = smolvla
    full = make()(batch, noise)
    none = actions(smolvla, narrow["refit"], fixed(0.0))
    assert torch.equal(full.actions, none.actions)
    assert full.exits == () and none.exits[0].layer == -1


@pytest.mark.parametrize("skip", [0.25, 0.5, 0.75, 1.0])
def test_mask_equals_truncate_for_the_same_channels(smolvla, narrow, skip):
    import torch

    mask, cut = (actions(smolvla, narrow[m], fixed(skip)).actions for m in ("mask", "truncate"))
    torch.testing.assert_close(mask, cut)


def test_a_refit_is_nearer_to_the_full_model(smolvla, narrow):
    _, make, batch, noise = smolvla
    full = make()(batch, noise).actions
    off = {
        m: float((actions(smolvla, narrow[m], fixed(0.5)).actions - full).norm())
        for m in ("truncate", "importance", "refit")
    }
    assert off["refit"] < off["importance"] < off["truncate"]


def test_a_confident_chunk_exits_and_says_where(smolvla, narrow):
    sample = actions(smolvla, narrow["refit"], rule())
    assert [(e.route, e.layer) for e in sample.exits] == [("chunk", 1)]
    assert sample.exits[0].ratio in (0.25, 0.5, 0.75)


def test_narrow_mlps_of_another_model_are_refused(smolvla, narrow):
    from salus_ros.policy.early_exit.settings import EarlyExitError
    from salus_ros.policy.early_exit.smolvla_model import install

    fewer = dict(list(narrow["refit"].items())[1:])
    with pytest.raises(EarlyExitError, match="MLPs, the policy"):
        install(smolvla[1](), fewer)


def test_checkpoints_are_the_models_own():
    from salus_ros.policy.early_exit.settings import EarlyExitError
    from salus_ros.policy.early_exit.smolvla_model import default_checkpoints

    assert default_checkpoints(16) == (4, 8, 12)
    assert default_checkpoints(4) == (1, 2, 3)
    with pytest.raises(EarlyExitError, match="don't fit a model with 4 layers"):
        rule(layers=(2, 7))

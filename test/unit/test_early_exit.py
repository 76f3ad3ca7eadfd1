"""Early exit: narrow MLPs, decisions, the certificate, files, and the flow policy with it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("sedac_core")

from flow_policies import observation, tiny_checkpoint  # noqa: E402

from salus_ros.policy.early_exit import fitting, ladder  # noqa: E402
from salus_ros.policy.early_exit.buckets import BUCKETS, NARROW, rounded_down  # noqa: E402
from salus_ros.policy.early_exit.cascade import ExitRule, quick_risk  # noqa: E402
from salus_ros.policy.early_exit.certificate import (  # noqa: E402
    at_most,
    certificate,
    episode_errors,
    fixed_sequence,
)
from salus_ros.policy.early_exit.files import (  # noqa: E402
    DESCRIPTION,
    EarlyExitParts,
    load_early_exit,
    save_early_exit,
)
from salus_ros.policy.early_exit.flops import mlp_flops  # noqa: E402
from salus_ros.policy.early_exit.flow_fit import flow_runner  # noqa: E402
from salus_ros.policy.early_exit.flow_model import costs_of, install, make_narrow  # noqa: E402
from salus_ros.policy.early_exit.narrowing import METHODS  # noqa: E402
from salus_ros.policy.early_exit.observations import Recorded  # noqa: E402
from salus_ros.policy.early_exit.settings import EarlyExitError, ExitSetting, fixed  # noqa: E402
from salus_ros.policy.flow.backend import FlowBackend  # noqa: E402
from salus_ros.policy.flow.checkpoint import (  # noqa: E402
    WEIGHTS,
    CheckpointError,
    save_checkpoint,
)
from salus_ros.policy.probe import LREProbe  # noqa: E402

LAYERS = 3


@pytest.fixture(scope="module")
def checkpoint():
    return tiny_checkpoint(layers=LAYERS)


@pytest.fixture(scope="module")
def runner(checkpoint):
    return flow_runner(checkpoint)


@pytest.fixture(scope="module")
def tokens(checkpoint):
    generator = torch.Generator().manual_seed(1)
    config = checkpoint.config
    shape = (40, len(config.cameras) * config.image_tokens + 2, config.width)
    return torch.randn(shape, generator=generator)


@pytest.fixture(scope="module")
def narrow(runner, tokens):
    return {m: make_narrow(runner.network, m, lambda: runner.full(tokens)) for m in METHODS}


def errors(runner, tokens, skip):
    reduced = runner.from_layer(tokens, 0, skip)
    return fitting.relative_errors(reduced, runner.full(tokens))


def probes(width=16, layers=(0, 1, 2), seed=0):
    torch.manual_seed(seed)
    return {layer: LREProbe(width, 4).eval() for layer in layers}


def soft(threshold=2.0, layers=LAYERS):
    rates = tuple(0.9 * (i + 1) / layers for i in range(layers))
    return ExitSetting(
        "soft", (threshold,) * layers, (0.05,) * layers, ladder.default_weights(layers), rates
    )


# --- buckets ---


@given(st.floats(0, 1))
def test_a_ratio_is_rounded_down_to_a_bucket(ratio):
    bucket = float(rounded_down(ratio))
    assert bucket in BUCKETS and bucket <= ratio
    assert all(other <= bucket or other > ratio for other in BUCKETS)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, np.nan])
def test_a_ratio_that_is_none_is_refused(ratio):
    with pytest.raises(ValueError, match="outside 0 to 1"):
        rounded_down(ratio)


# --- narrow MLPs ---


def test_ratio_zero_is_the_full_model_to_the_bit(runner, tokens, narrow):
    before = tiny_checkpoint(layers=LAYERS).network
    install(runner.network, narrow["refit"])
    whole, untouched = runner.network.encode(tokens), before.encode(tokens)
    assert torch.equal(whole, untouched)
    assert errors(runner, tokens, 0.0).max() == 0.0


@pytest.mark.parametrize("skip", NARROW)
def test_mask_equals_truncate_for_the_same_channels(runner, tokens, narrow, skip):
    chunks = []
    for method in ("mask", "truncate"):
        install(runner.network, narrow[method])
        chunks.append(runner.from_layer(tokens, 0, skip))
    torch.testing.assert_close(*chunks)


@pytest.mark.parametrize("method", METHODS[1:])
def test_truncation_computes_only_the_kept_channels(runner, narrow, method):
    install(runner.network, narrow[method])
    hidden = runner.config.mlp_width
    for skip in NARROW:
        weights = runner.network.layers[0].mlp.narrow[skip]
        kept = round(hidden * (1 - skip))
        assert weights.up.shape == (kept, runner.config.width)
        assert weights.down.shape == (runner.config.width, kept)
        assert weights.up.is_contiguous()


def test_a_refit_keeps_what_linearly_dependent_channels_gave(tokens):
    """Channels that come twice: half of them can go, and nothing changes."""
    runner = flow_runner(tiny_checkpoint(layers=LAYERS))
    for mlp in [layer.mlp for layer in runner.network.layers]:
        half = mlp.up.out_features // 2
        with torch.no_grad():
            mlp.up.weight[half:], mlp.up.bias[half:] = mlp.up.weight[:half], mlp.up.bias[:half]
            mlp.down.weight[:, :half] *= 0.2  # less important than their twins: they go
    by = {}
    for method in ("importance", "refit"):
        found = make_narrow(runner.network, method, lambda: runner.full(tokens))
        install(runner.network, found)
        with torch.no_grad():
            full = runner.network.encode(tokens)
            reduced = runner.network.encode(tokens, lambda *_: 0.5)
        by[method] = float((reduced - full).norm() / full.norm())
    assert by["refit"] < 0.02 * by["importance"]


def test_more_importance_less_error(runner, tokens, narrow):
    found = {}
    for method in ("truncate", "importance", "refit"):
        install(runner.network, narrow[method])
        found[method] = errors(runner, tokens, 0.5).mean()
    assert found["refit"] < found["importance"]
    assert found["refit"] < found["truncate"]


def test_narrow_mlps_of_another_network_are_refused(narrow):
    other = tiny_checkpoint(layers=LAYERS, mlp_width=64).network
    with pytest.raises(EarlyExitError, match="another size"):
        install(other, narrow["refit"])
    with pytest.raises(EarlyExitError, match="has MLPs"):
        install(tiny_checkpoint(layers=2).network, narrow["refit"])


# --- costs ---


def test_flops_count_every_mlp_of_a_chunk(checkpoint):
    """By hand: instruction, state, prefix, and the expert's for all steps and samples."""
    config = checkpoint.config
    width, tokens = config.width, 2 * config.image_tokens + 2
    by_hand = width * (16 * 8 + width) + 2 * width * (config.state_size + width)
    by_hand += config.layers * tokens * 2 * width * config.mlp_width
    by_hand += 10 * 8 * config.action_tokens * config.expert_layers * 2 * width * 32
    costs = costs_of(config, 8, 10)
    assert mlp_flops(costs, [0.0] * LAYERS, 0.0) == 2 * by_hand
    expert = 2 * 10 * 8 * config.action_tokens * config.expert_layers * 2 * width * 32
    saved = mlp_flops(costs, [0.0] * LAYERS, 0.0) - mlp_flops(costs, [0.0] * LAYERS, 0.5)
    assert saved == expert / 2


# --- decisions ---


def test_an_exit_changes_nothing_before_it_and_holds_for_all_that_follows(runner, tokens, narrow):
    install(runner.network, narrow["refit"])
    rule = ExitRule(probes(), soft(), LAYERS)
    result = runner.with_rule(tokens, rule)
    assert (result.skips[:, 0] == 0.0).all()
    assert (np.diff(result.skips, axis=1) >= 0.0).all()
    assert set(np.unique(result.skips)) <= set(rule.skips)
    assert (result.skips[:, -1] > 0).any()


def test_a_batch_exits_as_its_chunks_do_one_by_one(runner, tokens, narrow):
    install(runner.network, narrow["refit"])
    rule = ExitRule(probes(), soft(0.8), LAYERS)
    together = runner.with_rule(tokens[:6], rule)
    for i in range(6):
        cascade = rule.begin()
        with torch.no_grad():
            runner.network.encode(tokens[i : i + 1], cascade.after_layer)
        assert cascade.skips[0] == together.skips[i, -1]
        assert cascade.exits()[0].layer == together.exit_layers[i]


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 1e3, 1e6, float("inf"), float("nan")])
def test_the_quick_risk_is_the_probes(scale):
    probe = probes()[0]
    tokens = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(2))
    tokens[0, 1, 3] = scale
    with torch.no_grad():
        expected = float(probe.sequence_risk(tokens)[0])
        assert quick_risk(probe, tokens) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_hidden_states_that_are_not_finite_are_no_reason_to_exit():
    rule = ExitRule(probes(), soft(), LAYERS)
    cascade = rule.begin()
    skip = cascade.after_layer(0, torch.full((1, 4, 16), float("nan")))
    assert skip in BUCKETS


def test_exit_rules_that_do_not_fit_the_model_are_refused():
    with pytest.raises(EarlyExitError, match="don't fit a model with 2 layers"):
        ExitRule(probes(), soft(), 2)
    with pytest.raises(EarlyExitError, match="2 thresholds, there are 3 probes"):
        ExitRule(probes(), soft(layers=2), LAYERS)
    unreachable = ExitSetting("soft", (1.0,) * 3, (0.9,) * 3, (0.1,) * 3, (0.3, 0.6, 0.9))
    with pytest.raises(EarlyExitError, match="early exit: "):
        ExitRule(probes(), unreachable, LAYERS)


def test_the_single_layer_ladder_gives_the_exit_rate_that_was_asked_for():
    risk = np.random.default_rng(0).gamma(2.0, size=(3, 2000)).astype(np.float32)
    for rate in (0.1, 0.5, 0.9):
        setting = ladder.single_layer(risk, rate)
        decided = setting.controller((0, 1, 2), 3).evaluate(risk)
        assert np.mean(decided.should_exit) == pytest.approx(rate, abs=0.01)


# --- certificate ---


def test_the_binomial_tail_is_the_binomial_tail():
    assert at_most(0, 10, 0.1) == pytest.approx(0.9**10)
    assert at_most(1, 2, 0.5) == pytest.approx(0.75)
    assert at_most(10, 10, 0.3) == pytest.approx(1.0)


def test_twenty_one_episodes_without_an_error_do_not_certify_but_twenty_two_do():
    """0.9^21 = 0.109 and 0.9^22 = 0.098, delta = 0.1."""
    assert not certificate(np.zeros(21)).passes
    found = certificate(np.zeros(22))
    assert found.passes and found.bound < 0.1


def test_the_sequence_ends_with_the_first_setting_that_fails():
    good, bad = np.zeros(50), np.ones(50)
    asked = []

    def tests():
        for name, values in (("a", good), ("b", bad), ("c", good)):
            asked.append(name)
            yield name, values

    assert [(n, c.passes) for n, c in fixed_sequence(tests())] == [("a", True), ("b", False)]
    assert asked == ["a", "b"]


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**20))
def test_a_setting_that_does_not_hold_is_rarely_certified(seed):
    """A tenth of the episodes just above: certified in at most a share delta of draws."""
    rng = np.random.default_rng(seed)
    draws = rng.random((400, 80)) < 0.1001
    passed = np.mean([certificate(row.astype(float)).passes for row in draws])
    assert passed <= 0.1 + 3 * np.sqrt(0.09 / 400)


def test_errors_count_by_episode():
    found = episode_errors(np.array([1.0, 3.0, 5.0]), np.array([7, 7, 2]))
    assert found.tolist() == [5.0, 2.0]


# --- fitting, files, policy ---


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, checkpoint, tokens):
    folder = tmp_path_factory.mktemp("early_exit")
    save_checkpoint(folder, checkpoint)
    runner = flow_runner(checkpoint)
    generator = torch.Generator().manual_seed(3)
    many = tokens.repeat(5, 1, 1) + 0.1 * torch.randn(200, *tokens.shape[1:], generator=generator)
    data = Recorded(many, np.repeat(np.arange(100), 2))
    parts, record = fitting.fit_early_exit(runner, fitting.split(data, 0), "refit", 0)
    parts.settings["everything"] = fixed(1.0, LAYERS)
    save_early_exit(folder, folder / WEIGHTS, parts)
    return folder, parts, record


def test_splits_share_no_episode(tokens):
    data = Recorded(tokens, np.repeat(np.arange(20), 2))
    parts = fitting.split(data, 0)
    sets = [set(p.episodes.tolist()) for p in (parts.fit, parts.order, parts.certify)]
    assert set.union(*sets) == set(range(20)) and sum(map(len, sets)) == 20
    with pytest.raises(ValueError, match="too few"):
        fitting.split(Recorded(tokens[:10], np.arange(10)), 0)


def test_what_was_fitted_comes_back_from_the_files(fitted, runner, tokens):
    folder, parts, record = fitted
    loaded = load_early_exit(folder, folder / WEIGHTS)
    assert loaded.settings == parts.settings and loaded.method == "refit"
    assert sorted(loaded.probes) == [0, 1, 2]
    results = []
    for each in (parts, loaded):
        install(runner.network, each.narrow)
        rule = ExitRule(each.probes, soft(0.8), LAYERS)
        results.append(runner.with_rule(tokens, rule).chunks)
    assert torch.equal(*results)
    assert record.risk.shape == record.exit_right.shape == (3, 30)


def test_files_of_other_weights_are_refused(fitted, tmp_path):
    folder = fitted[0]
    save_checkpoint(tmp_path, tiny_checkpoint(seed=5, layers=LAYERS))
    for file in folder.glob("early_exit.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(EarlyExitError, match="other weights"):
        load_early_exit(tmp_path, tmp_path / WEIGHTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 9}, "format 9"),
        ({"checkpoints": [7]}, "doesn't fit"),
        ({"method": "magic"}, "unknown"),
        ({"settings": {"a": {}}}, "lacks or garbles"),
        ({"sha256": "0"}, "isn't the one"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(fitted, tmp_path, change, message):
    folder, _, _ = fitted
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = json.loads((tmp_path / DESCRIPTION).read_text()) | change
    (tmp_path / DESCRIPTION).write_text(json.dumps(content))
    with pytest.raises(EarlyExitError, match=message):
        load_early_exit(tmp_path, tmp_path / WEIGHTS)


def policy(folder, early_exit):
    backend = FlowBackend(
        checkpoint=str(folder), device="cpu", sampler="eager", early_exit=early_exit
    )
    backend.warm_up()
    return backend


def test_the_policy_says_where_it_left_and_moves_differently(fitted):
    folder = fitted[0]
    full = policy(folder, "off").predict(observation())
    narrow = policy(folder, "everything").predict(observation())
    assert full.exits == ()
    assert [(e.route, e.layer, e.ratio) for e in narrow.exits] == [("chunk", 0, 1.0)]
    assert not np.array_equal(full.actions, narrow.actions)
    assert np.isfinite(narrow.actions).all()


def test_early_exit_that_skips_nothing_gives_the_full_models_chunk(fitted):
    folder, parts, _ = fitted
    never = soft(1e-6)
    both = EarlyExitParts(parts.probes, parts.narrow, "refit", {"never": never}, {})
    save_early_exit(folder, folder / WEIGHTS, both)
    try:
        full = policy(folder, "").predict(observation())
        same = policy(folder, "never").predict(observation())
    finally:
        save_early_exit(folder, folder / WEIGHTS, parts)
    assert np.array_equal(full.actions, same.actions)
    assert same.exits[0].layer == -1 and same.exits[0].ratio == 0.0


def test_a_setting_that_there_is_not_names_those_that_there_are(fitted):
    with pytest.raises(CheckpointError, match=r"'bold', but .* has: off, .*everything"):
        policy(fitted[0], "bold")


def test_a_checkpoint_without_early_exit_says_what_to_do(tmp_path):
    save_checkpoint(tmp_path, tiny_checkpoint())
    with pytest.raises(CheckpointError, match="salus train early-exit"):
        policy(tmp_path, "certified")

"""Does this policy fit this robot? Asked once, at configure; each answer names both sides."""

from __future__ import annotations

from typing import Any

from lerobot.configs.types import FeatureType, NormalizationMode
from lerobot.utils.constants import ACTION, OBS_STATE

from salus_ros.policy.lerobot.errors import CheckpointError
from salus_ros.policy.lerobot.loading import Checkpoint
from salus_ros.policy.lerobot.mapping import PolicyMapping, RobotLayout
from salus_ros.policy.lerobot.statistics import feature_statistics

# What each kind of normalisation reads from the statistics.
STATISTICS = {
    NormalizationMode.MEAN_STD: ("mean", "std"),
    NormalizationMode.MIN_MAX: ("min", "max"),
    NormalizationMode.QUANTILES: ("q01", "q99"),
    NormalizationMode.QUANTILE10: ("q10", "q90"),
}


def check(checkpoint: Checkpoint, mapping: PolicyMapping, layout: RobotLayout) -> None:
    """Raise CheckpointError, in one line, where policy, mapping and robot don't fit."""
    config = checkpoint.config
    _check_images(config, mapping)
    _check_other_inputs(config, layout)
    _check_actions(config, layout)
    inputs = {k: v for k, v in config.input_features.items() if k not in mapping.absent_images}
    _check_statistics(checkpoint.preprocess, config, inputs, "pre-processor")
    actions = {ACTION: config.action_feature}
    _check_statistics(checkpoint.postprocess, config, actions, "post-processor")


def _check_images(config: Any, mapping: PolicyMapping) -> None:
    wanted = set(config.image_features)
    given = set(mapping.cameras.values())
    absent = set(mapping.absent_images)
    if absent and config.type != "smolvla":
        raise CheckpointError(
            f"mapping: absent_images names {sorted(absent)[0]}, but a policy of type "
            f"'{config.type}' can't do without an image: map a camera to it"
        )
    if given - wanted or absent - wanted:
        raise CheckpointError(
            f"mapping names image feature {sorted((given | absent) - wanted)[0]}; the policy has "
            f"{_listed(wanted)}"
        )
    lacking = {key for key in wanted - given - absent if not _is_empty_camera(config, key)}
    if lacking:
        raise CheckpointError(
            f"the policy needs image {sorted(lacking)[0]}; the mapping's cameras give "
            f"{_listed(given)}"
        )
    if len(given) < len(mapping.cameras):
        raise CheckpointError(f"mapping: two cameras give the same image feature: {given}")
    if wanted and not given:
        raise CheckpointError(f"the policy needs an image; the mapping names no camera: {wanted}")


def _is_empty_camera(config: Any, key: str) -> bool:
    """A SmolVLA may have been trained with cameras that are always empty."""
    return config.type == "smolvla" and "empty_camera" in key


def _check_other_inputs(config: Any, layout: RobotLayout) -> None:
    for key, feature in config.input_features.items():
        if feature.type is FeatureType.VISUAL:
            continue
        if key != OBS_STATE:
            raise CheckpointError(f"the policy needs '{key}', which this robot does not give")
        if tuple(feature.shape) != (layout.state_dims,):
            raise CheckpointError(
                f"the policy's state has the shape {tuple(feature.shape)}; the mapping's state "
                f"gives {layout.state_dims} values of this robot"
            )


def _check_actions(config: Any, layout: RobotLayout) -> None:
    feature = config.action_feature
    if feature is None:
        raise CheckpointError("the policy has no output feature 'action'")
    if tuple(feature.shape) != (layout.action_dims,):
        gripper = " and a gripper" if layout.has_gripper else ""
        raise CheckpointError(
            f"the policy's actions have {feature.shape[0]} dimensions; this robot has "
            f"{layout.joints} joints{gripper}"
        )


def _check_statistics(processor: Any, config: Any, features: dict[str, Any], where: str) -> None:
    found = feature_statistics(processor)
    for key, feature in features.items():
        # LeRobot leaves out what it has no statistics for; the policy would see raw units.
        mode = NormalizationMode(config.normalization_mapping.get(feature.type.value, "IDENTITY"))
        for name in STATISTICS.get(mode, ()):
            if name not in found.get(key, {}):
                raise CheckpointError(
                    f"the policy was trained with {mode.value} of '{key}', but its {where} has no "
                    f"'{name}' of it: save the processors with the data set's statistics"
                )
            size = found[key][name].numel()
            if feature.type is not FeatureType.VISUAL and size != feature.shape[0]:
                raise CheckpointError(
                    f"'{name}' of '{key}' in the {where} has {size} values; the policy's feature "
                    f"has {feature.shape[0]}"
                )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"

"""A checkpoint of LeRobot's, from a folder or the hub: safetensors and JSON, nothing else."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers.utils.hub
from draccus.utils import DraccusException
from huggingface_hub import constants, snapshot_download, try_to_load_from_cache
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from safetensors import SafetensorError
from safetensors.torch import load_model

from salus_ros.policy.lerobot.errors import CheckpointError

log = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
PROCESSORS = ("policy_preprocessor.json", "policy_postprocessor.json")
LOADING_ERRORS = (
    OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError, DraccusException,
)  # fmt: skip
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A policy in evaluation mode, and its own pre- and post-processor."""

    policy: Any
    preprocess: Any
    postprocess: Any

    @property
    def config(self) -> Any:
        """LeRobot's configuration of the policy."""
        return self.policy.config


def load_checkpoint(checkpoint: str, device: str = "cpu", vision_language: str = "") -> Checkpoint:
    """Load a policy from a folder, or from the hub where `checkpoint` is an id ("owner/name").

    device: "cpu", "cuda", ... vision_language: folder that is read in place of the one that the
    checkpoint names. With a folder nothing is downloaded. Raises CheckpointError or
    FileNotFoundError in one line.
    """
    folder, from_hub = _folder(checkpoint)
    _refuse_foreign_files(folder)
    with contextlib.nullcontext() if from_hub else _offline():
        try:
            # LeRobot prints what it does; a node says what matters itself.
            with contextlib.redirect_stdout(io.StringIO()):
                return _load(folder, device, vision_language)
        except CheckpointError:
            raise
        except LOADING_ERRORS as error:
            line = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{folder} can't be loaded: {line}") from error


def folder_of(checkpoint: str) -> Path:
    """Where a checkpoint lies. Raises as load_checkpoint does."""
    folder, _ = _folder(checkpoint)
    _refuse_foreign_files(folder)
    return folder


def read_config(folder: Path) -> Any:
    """LeRobot's configuration of the policy in a folder, as it stands there.

    Raises CheckpointError in one line.
    """
    try:
        return PreTrainedConfig.from_pretrained(folder)
    except LOADING_ERRORS as error:
        line = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{folder} can't be read: {line}") from error


def _folder(checkpoint: str) -> tuple[Path, bool]:
    path = Path(checkpoint).expanduser()
    for folder in (path, path / "pretrained_model"):  # As LeRobot's training lays them out.
        if (folder / "config.json").is_file():
            return folder, False
    if path.exists():
        raise CheckpointError(f"{path} is no LeRobot policy: it holds no config.json")
    if checkpoint.count("/") != 1 or checkpoint.startswith((".", "/", "~")):
        raise FileNotFoundError(f"{path}: no such folder; give a policy's folder or its hub id")
    try:
        return Path(snapshot_download(checkpoint, allow_patterns=["*.json", "*.safetensors"])), True
    except Exception as error:  # The hub's client raises what its transport does.
        line = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"'{checkpoint}' is no folder here, and can't be fetched from the hub: {line}"
        ) from error


def _refuse_foreign_files(folder: Path) -> None:
    """Refuse pickles, and processors that name code from elsewhere."""
    if not (folder / WEIGHTS).is_file():
        pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
        if pickles:
            raise CheckpointError(
                f"{folder / pickles[0]} is a pickle, which can run code and is not loaded: "
                f"save the policy as {WEIGHTS}"
            )
        raise CheckpointError(f"{folder} holds no {WEIGHTS}")
    for name in PROCESSORS:
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} holds no {name}: a checkpoint from before LeRobot 0.4 is brought up to "
                "date with lerobot.processor.migrate_policy_normalization"
            )
        _refuse_foreign_steps(folder / name)


def _refuse_foreign_steps(file: Path) -> None:
    try:
        steps = json.loads(file.read_text())["steps"]
        classes = [str(step["class"]) for step in steps if "registry_name" not in step]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file} is no description of a processor: {error!r}") from None
    foreign = [name for name in classes if not name.startswith("lerobot.")]
    if foreign:
        raise CheckpointError(
            f"{file} runs '{foreign[0]}', which is not part of LeRobot: it is not loaded"
        )


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Nothing is downloaded meanwhile; what the hub's cache holds is used."""
    hub = transformers.utils.hub
    before = constants.HF_HUB_OFFLINE, hub._is_offline_mode
    constants.HF_HUB_OFFLINE = hub._is_offline_mode = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, hub._is_offline_mode = before


def _load(folder: Path, device: str, vision_language: str) -> Checkpoint:
    config = _config(folder, device, vision_language)
    _require_vision_language(config)
    policy = get_policy_class(config.type)(config)
    _load_weights(policy, folder / WEIGHTS, device)
    policy.to(device).eval()
    overrides = _overrides(folder / PROCESSORS[0], device, vision_language)
    preprocess, postprocess = make_pre_post_processors(
        config, pretrained_path=str(folder), preprocessor_overrides=overrides
    )
    return Checkpoint(policy, preprocess, postprocess)


def _config(folder: Path, device: str, vision_language: str) -> Any:
    config = PreTrainedConfig.from_pretrained(folder)
    if config.use_peft:
        raise CheckpointError(f"{folder} is a PEFT adapter: merge it into its policy first")
    config.device = device
    config.pretrained_path = folder
    # All weights come from the checkpoint, so none are fetched to be overwritten.
    replaced = {"load_vlm_weights": False, "pretrained_backbone_weights": None}
    # Compilation is this project's own concern, see the deploy-compiler.
    replaced["compile_model"] = False
    if vision_language:
        replaced["vlm_model_name"] = vision_language  # type: ignore[assignment]
    for name, value in replaced.items():
        if hasattr(config, name):
            setattr(config, name, value)
    return config


def _require_vision_language(config: Any) -> None:
    """SmolVLA is built from another model's configuration and tokenizer, of which only names
    stand in the checkpoint.
    """
    name = getattr(config, "vlm_model_name", "")
    if not name or Path(name).is_dir() or not constants.HF_HUB_OFFLINE:
        return
    if not isinstance(try_to_load_from_cache(name, "config.json"), str):
        raise CheckpointError(
            f"the policy is built from '{name}', which is not on this machine: fetch it with "
            f"`hf download {name}`, or name its folder in the mapping as vision_language_model"
        )


def _load_weights(policy: Any, file: Path, device: str) -> None:
    """Every weight of the policy must be in the file: LeRobot's own loader leaves gaps random."""
    try:
        missing, unexpected = load_model(policy, str(file), strict=False, device=device)
    except SafetensorError as error:
        raise CheckpointError(f"{file} is no whole safetensors file: {error}") from error
    if missing:
        raise CheckpointError(
            f"{file} lacks {len(missing)} weights of the policy, '{sorted(missing)[0]}' for one: "
            "it belongs to another configuration"
        )
    if unexpected:
        log.warning(
            "%s has %d weights that the policy has no use for, '%s' for one",
            *(file, len(unexpected), sorted(unexpected)[0]),
        )


def _overrides(preprocessor: Path, device: str, vision_language: str) -> dict[str, Any]:
    steps = json.loads(preprocessor.read_text())["steps"]
    names = {step.get("registry_name") for step in steps}
    overrides: dict[str, Any] = {}
    if "device_processor" in names:
        overrides["device_processor"] = {"device": device}
    if "tokenizer_processor" in names and vision_language:
        overrides["tokenizer_processor"] = {"tokenizer_name": vision_language}
    return overrides

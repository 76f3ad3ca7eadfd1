"""A tiny SmolVLA with random weights, saved as LeRobot saves one: built once for all tests."""

import warnings

import pytest


@pytest.fixture(scope="session")
def lerobot():
    """LeRobot, imported; what it needs warns of its own future on import."""
    pytest.importorskip("torch", reason="needs torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("lerobot.policies.factory", reason="needs LeRobot")


@pytest.fixture(scope="session")
def smolvla_folder(lerobot, tmp_path_factory):
    """Folder with the vision-language model's configuration (vlm) and a saved policy (policy)."""
    from salus_ros.bench import smolvla_model as model

    folder = tmp_path_factory.mktemp("smolvla")
    model.make_vision_language_model(folder / "vlm", model.TINY)
    config = model.smolvla_config(folder / "vlm", model.TINY, ("front", "wrist"))
    model.save_policy(model.make_policy(config), folder / "policy")
    return folder

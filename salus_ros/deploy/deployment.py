"""The compiled configuration as a file that the policy node loads; free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from salus_ros.deploy.levers import CompileError, Levers
from salus_ros.deploy.machine import differences, this_machine
from salus_ros.policy.description import sha256

FORMAT = 1
WEIGHTS = {"flow": "policy.safetensors", "lerobot": "model.safetensors"}
SHIPPED = Path(__file__).parents[1] / "policy" / "flow" / "weights"
"""As in policy/flow/checkpoint.py and policy/lerobot/loading.py, which need torch."""
HEAD = "# Made by `salus compile`; parameter `deploy` of vla_policy. Measured on what it names.\n"


@dataclass(frozen=True, slots=True)
class Deployment:
    """policy, options, execution_horizon: for the policy node. digest: SHA-256 of its weights.

    axes, intervals: what was measured. hardware, versions, commit: where.
    """

    policy: str
    options: Mapping[str, Any]
    execution_horizon: int
    digest: str
    axes: Mapping[str, Any]
    intervals: Mapping[str, Any]
    levers: Mapping[str, Any]
    budget: Mapping[str, Any]
    plan: Mapping[str, int]
    hardware: Mapping[str, Any]
    versions: Mapping[str, str]
    commit: str

    @property
    def device(self) -> str:
        """Cpu or cuda."""
        return str(self.options.get("device") or ("cuda" if self.hardware.get("gpu") else "cpu"))

    def other_hardware(self, here: Mapping[str, Any] | None = None) -> str:
        """A warning where this isn't the machine that it was measured on; "" where it is."""
        there = differences(self.hardware, here or this_machine(self.device))
        if not there:
            return ""
        return (
            f"compiled on other hardware ({'; '.join(there)}): its times don't hold here, run "
            "`salus compile` on this machine"
        )

    def check_weights(self) -> None:
        """Raises CompileError for weights that it wasn't made with."""
        checkpoint = str(self.options.get("checkpoint") or "")
        name = WEIGHTS.get(self.policy)
        if name is None:
            raise CompileError(f"it is for policy '{self.policy}', which no node runs")
        file = (Path(checkpoint) if checkpoint else SHIPPED) / name
        if not file.is_file():
            raise CompileError(f"{file}, which it was compiled for, is not there")
        if sha256(file) != self.digest:
            raise CompileError(
                "it was compiled for other weights than these: run `salus compile` again"
            )


def write_deployment(file: Path, deployment: Deployment) -> None:
    """As YAML. Raises OSError."""
    names = Deployment.__dataclass_fields__
    content = {"format": FORMAT} | {n: _plain(getattr(deployment, n)) for n in names}
    file.write_text(HEAD + yaml.safe_dump(content, sort_keys=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return list(value) if isinstance(value, tuple) else value


def read_deployment(file: Path) -> Deployment:
    """Raises CompileError, in one line, for a file that isn't one."""
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        raise CompileError(f"{file} can't be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())[:120]
        raise CompileError(f"{file} is no YAML: {line}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CompileError(f"{file} is no file of `salus compile` in format {FORMAT}")
    del content["format"]
    try:
        found = Deployment(**content)
    except TypeError as error:
        raise CompileError(f"{file} doesn't fit: {error}; compile again") from error
    wrong = _wrong(found)
    if wrong:
        raise CompileError(f"{file} is garbled, {wrong}: compile again")
    return found


def _wrong(found: Deployment) -> str:
    """What a hand-edited file has that can't be, in a few words; "": nothing."""
    for name in ("options", "axes", "intervals", "levers", "budget", "plan", "hardware"):
        if not isinstance(getattr(found, name), Mapping):
            return f"{name} is {getattr(found, name)!r}"
    counts = {
        "execution_horizon": found.execution_horizon,
        "cores": found.hardware.get("cores"),
        **{name: found.plan.get(name) for name in ("inputs", "calls")},
    }
    full = Levers()
    checks = (
        *((name, value, _is_count(value)) for name, value in counts.items()),
        *((n, v, type(v) is type(getattr(full, str(n), None))) for n, v in found.levers.items()),
        *((axis, v, _is_number(v) or v == "unknown") for axis, v in found.axes.items()),
        *((axis, v, _is_interval(v)) for axis, v in found.intervals.items()),
    )
    return next((f"{name} is {value!r}" for name, value, fits in checks if not fits), "")


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_interval(value: Any) -> bool:
    pair = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    return pair and bool(value[0] <= value[1])

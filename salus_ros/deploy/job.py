"""One run of the compiler: from options to everything that is told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salus_ros.bench.provenance import commit
from salus_ros.deploy.axes import Budget, Limit
from salus_ros.deploy.cache import Cache, cache_folder
from salus_ros.deploy.deployment import Deployment
from salus_ros.deploy.levers import CompileError, Levers
from salus_ros.deploy.machine import all_versions, code, load_average, this_machine
from salus_ros.deploy.measure import Plan
from salus_ros.deploy.outcome import conclude, configurations
from salus_ros.deploy.search import Say, Search
from salus_ros.deploy.subject import Subject, make_subject

__all__ = ["Job", "cache_folder", "with_study"]


@dataclass(slots=True)
class Job:
    """What is compiled and how well it is measured; see the command's options."""

    policy: str
    device: str
    inputs: int
    calls: int
    processes: int
    levers: Mapping[str, Sequence[str]]
    cache: Path
    fresh: bool = False
    mapping: str = ""
    subject: Subject = field(init=False)

    def run(self, budgets: Mapping[str, Budget], say: Say) -> dict[str, Any]:
        """Search and conclude. Raises CompileError, or what loading the policy raises."""
        self.subject = make_subject(self.policy, self.device, self.inputs, self.mapping)
        grid = self.subject.grid().restricted(self.levers)
        machine, versions = this_machine(self.subject.device), all_versions()
        search = Search(
            self.subject, grid, Plan(self.calls, self.processes), self._cache(machine, versions),
            say,
        )  # fmt: skip
        candidates = search.run()
        horizons = grid.values["execution_horizon"]
        found = configurations(candidates, horizons, self.subject.time_step, self.subject.rows)
        picks = [{"name": name, **conclude(found, budget)} for name, budget in budgets.items()]
        return {
            "benchmark": "compile",
            "policy": self.subject.name,
            "digest": self.subject.digest,
            "device": self.subject.device,
            "plan": self.plan(),
            "load_average": load_average(),
            "configurations": found,
            "frontier": picks[0]["frontier"],
            "best": picks[0]["best"],
            "binding": picks[0]["binding"],
            "picks": [{k: v for k, v in pick.items() if k != "frontier"} for pick in picks],
            "gate_refused_a_broken_kernel": search.gate_refused,
            "levers_left_out": dict(grid.left_out),
            "hardware": machine,
            "versions": versions,
            "commit": commit(),
        }

    def plan(self) -> dict[str, int]:
        """How well it was measured."""
        return {"inputs": self.inputs, "calls": self.calls, "processes": self.processes}

    def _cache(self, machine: Mapping[str, Any], versions: Mapping[str, str]) -> Cache:
        key = {
            "policy": self.subject.name,
            "digest": self.subject.digest,
            "context": self.subject.context,
            "device": self.subject.device,
            "hardware": dict(machine),
            "versions": dict(versions),
            # A kernel that passed the parity gate is not the one that it became since.
            "code": code(),
            "inputs": self.inputs,
            "calls": self.calls,
        }
        try:
            return Cache(self.cache, key, self.fresh)
        except OSError as error:
            raise CompileError(f"cache {self.cache} can't be written: {error.strerror}") from error

    def deployment(self, content: Mapping[str, Any], pick: Mapping[str, Any]) -> Deployment:
        """A pick as a file."""
        entry = content["configurations"][pick["best"]]
        levers = Levers(**entry["levers"])
        return Deployment(
            policy=content["policy"],
            options=self.subject.options(levers),
            execution_horizon=levers.execution_horizon,
            digest=content["digest"],
            axes=entry["axes"],
            intervals=entry["intervals"],
            levers=entry["levers"],
            budget=pick["budget"],
            plan=content["plan"],
            hardware=content["hardware"],
            versions=content["versions"],
            commit=content["commit"],
        )


def with_study(budgets: Mapping[str, Budget], file: Path | None) -> dict[str, Budget]:
    """Budgets with the age limited to what a study of the task found harmless.

    file: result of `salus evaluate staleness`; None: budgets as they are. Raises CompileError.
    """
    if file is None:
        return dict(budgets)
    try:
        limit = json.loads(file.read_text())["limit"]["age"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CompileError(f"{file} is no result of `salus evaluate staleness`: {error}") from error
    if limit is None:
        raise CompileError(f"{file} found no age that does no harm: no limit to derive")
    extra = Limit("age", float(limit))
    return {name: Budget(b.minimize, (*b.limits, extra)) for name, b in budgets.items()}

"""Every benchmark with a result file: what runs it, and what it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DROID, DEMONSTRATIONS = "droid", "demonstrations"
"""Data that some need: recorded real episodes, and those of `salus record demos`."""


@dataclass(frozen=True, slots=True)
class Bench:
    """file: in the folder of results. arguments: of `salus`. minutes: about how long, two cores.

    needs: data, which takes the place of DATA in the arguments.
    """

    file: str
    arguments: tuple[str, ...]
    minutes: float
    needs: str = ""

    @property
    def command(self) -> str:
        """For people."""
        return " ".join(("salus", *self.arguments))


def _bench(file: str, command: str, minutes: float, needs: str = "") -> Bench:
    return Bench(file, tuple(command.split()), minutes, needs)


ALL = (
    _bench("sedac_bench.json", "bench sedac", 1),
    _bench("lockstep.json", "bench lockstep", 1),
    _bench("signals_bench.json", "bench signals", 1),
    _bench("bench_sampler.json", "bench sampler --device cpu", 7),
    _bench("journal_full_disk.json", "bench journal --records 100000 --rate 5000", 1),
    _bench("gate_bench.json", "bench gate --seconds 12", 5),
    _bench("quantization.json", "bench quantization --device cpu", 5),
    _bench("demo.json", "demo --episodes 12 --seed 1", 3),
    _bench("policy_success.json", "evaluate policy --episodes 100 --seed 3000000", 15),
    _bench("policy_success_graph.json",
           "evaluate policy --real-time --episodes 100 --seed 9100000", 60),
    _bench("chunking.json",
           "evaluate chunking --merging rtc --merging temporal_ensemble --merging latest "
           "--speed 0.9 --episodes 32 --seed 5000000", 10),
    _bench("chunking_graph.json",
           "evaluate chunking --merging temporal_ensemble --speed 0.9 --horizon 3 --latency 0.2 "
           "--minutes 10", 11),
    _bench("smolvla_cpu.json", "bench smolvla --device cpu", 9),
    _bench("replay_bench.json", "bench replay", 1),
    _bench("replay_batch.json", "bench replay-batch --bags 1000 --workers 2", 6),
    _bench("staleness.json", "evaluate staleness --episodes 10", 25),
    _bench("compile_flow.json", "compile --policy flow --preset all", 12),
    _bench("compile_reference.json",
           "compile --policy reference --preset all --inputs 6 --calls 15", 30),
    _bench("early_exit.json", "evaluate early-exit --data DATA", 20, DEMONSTRATIONS),
    _bench("supervisor_droid.json",
           "evaluate supervisor --data DATA --episodes 400 --seed 2", 10, DROID),
)  # fmt: skip


def run(bench: Bench, folder: Path, data: str) -> str:
    """Run it in a process of its own; "" where its file is there now, else what went wrong.

    The file takes the place of an older one only when it is whole; it is given its command.
    """
    partial = folder / f".{bench.file}.partial"
    arguments = [data if part == "DATA" else part for part in bench.arguments]
    command = [sys.executable, "-m", "salus_ros.cli.main", *arguments, "--json", str(partial)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        content = json.loads(partial.read_text())
    except (OSError, ValueError):
        lines = (result.stderr or result.stdout).strip().splitlines()
        return lines[-1] if lines else f"exit code {result.returncode}"
    finally:
        partial.unlink(missing_ok=True)
    content.setdefault("command", bench.command)
    (folder / bench.file).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    return ""

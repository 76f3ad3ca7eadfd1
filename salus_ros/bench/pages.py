"""README's and docs' tables of results, made from the files in results/ and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from salus_ros.bench import compile_pages, early_exit_page, readme_rows, speed_pages
from salus_ros.bench.markdown import filled

Results = Mapping[str, Any]
"""Contents by the name of the file, without .json."""

BLOCKS: Mapping[str, Mapping[str, Callable[[Results], str]]] = {
    "README.md": {"results": readme_rows.table},
    "docs/compile.md": {
        "results-quantization": compile_pages.quantization,
        "results-quantization-gpu": compile_pages.quantization_gpu,
        "results-flow": compile_pages.flow,
        "results-reference": compile_pages.reference,
        "results-reference-verify": compile_pages.reference_verified,
        "results-reference-gpu": compile_pages.reference_gpu,
        "results-verify": compile_pages.verified,
        "results-staleness": compile_pages.staleness,
    },
    "docs/policy.md": {
        "results-sampler-cpu": speed_pages.sampler_cpu,
        "results-sampler-gpu": speed_pages.sampler_gpu,
    },
    "docs/lerobot.md": {
        "results-smolvla-cpu": speed_pages.smolvla_cpu,
        "results-smolvla-gpu": speed_pages.smolvla_gpu,
    },
    "docs/early_exit.md": {
        "results-settings": early_exit_page.settings,
        "results-methods": early_exit_page.methods,
    },
}
"""By page: marks, and what makes the text between them."""


def read_results(folder: Path) -> dict[str, Any]:
    """All result files of a folder. Raises ValueError for one that is no JSON."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        try:
            found[file.stem] = json.loads(file.read_text())
        except ValueError as error:
            raise ValueError(f"{file} is no JSON: {error}") from error
    return found


def pages(root: Path) -> dict[Path, str]:
    """Each page with its tables as they should be. Raises ValueError where a mark is missing."""
    results = read_results(root / "results")
    return {root / name: _filled(root / name, blocks, results) for name, blocks in BLOCKS.items()}


def _filled(file: Path, blocks: Mapping[str, Callable[[Results], str]], results: Results) -> str:
    text = file.read_text()
    for mark, make in blocks.items():
        text = filled(text, mark, make(results), str(file))
    return text

"""Modules that mypyc compiled: never of another source, and to the same numbers as the source."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import salus_ros
from salus_ros import compiled
from salus_ros.replay.bag_result import ReplayOptions
from salus_ros.replay.batch import work
from salus_ros.sim.rollouts import RolloutOptions, collect

ROOT = Path(salus_ros.__file__).parents[1]
REPLAY = """
import sys
from pathlib import Path
from salus_ros.replay.bag_result import ReplayOptions
from salus_ros.replay.batch import work
from salus_ros.supervision import motion
print(Path(motion.__file__).suffix, work(Path(sys.argv[1]), ReplayOptions()).fingerprint)
"""


def run(code, *arguments, root=ROOT, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(root), **environment},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not compiled.RECORD.exists(), reason="nothing is compiled: make build")
def test_compiled_and_interpreted_give_the_same_to_the_bit(tmp_path):
    collect(RolloutOptions("scripted_expert", 3), 1, tmp_path, 1, lambda *_: None)
    bag = tmp_path / "episode_00000"
    expected = work(bag, ReplayOptions()).fingerprint
    assert run(REPLAY, bag).stdout.split() == [".so", expected]
    assert run(REPLAY, bag, SALUS_INTERPRETED="1").stdout.split() == [".py", expected]


def test_a_source_that_changed_since_is_not_run_in_its_old_form(tmp_path):
    """Only the record of what was compiled matters here."""
    package = tmp_path / "salus_ros"
    package.mkdir()
    for name in ("__init__.py", "compiled.py"):
        shutil.copy(ROOT / "salus_ros" / name, package)
    (package / "compiled.json").write_text(json.dumps({"salus_ros/compiled.py": "of another text"}))
    said = run("import salus_ros", root=tmp_path)
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1] == (
        f"ImportError: {package / 'compiled.py'} has changed since it was compiled: run "
        "`make build`, or set SALUS_INTERPRETED=1 to run the sources as they are"
    )
    assert run("import salus_ros", root=tmp_path, SALUS_INTERPRETED="1").returncode == 0

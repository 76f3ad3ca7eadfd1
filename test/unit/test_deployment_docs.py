"""docs/deployment.md names what is there."""

import re
from pathlib import Path

from salus_ros.interface_table import NODES, RIG
from salus_ros.supervision.modes import CAUSES

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "deployment.md").read_text()


def anchors(path):
    titles = re.findall(r"(?m)^#+ (.*)$", path.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        name, _, anchor = target.partition("#")
        path = DOCS / name if name else DOCS / "deployment.md"
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_files_and_causes_that_it_names_are_there():
    for path in re.findall(r"`?((?:config|docker|launch|test)/[\w./]+\.\w+)", PAGE):
        assert (DOCS.parent / path).exists() or path == "docker/rig.env", path
    table = PAGE[PAGE.index("| says | is | do |") : PAGE.index("## Containers")]
    named = {
        name
        for row in table.splitlines()[2:]
        for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    }
    assert named and named <= set(CAUSES)


def test_every_step_has_its_check():
    steps = re.split(r"(?m)^## (?=\d )", PAGE)[1:]
    assert len(steps) == 8
    assert all("**Check:**" in step for step in steps)


def test_enclaves_are_made_for_all_nodes_of_a_rig():
    (loop,) = re.findall(r"for e in (.*?); do", PAGE, re.DOTALL)
    assert set(NODES) - {RIG} <= set(loop.split())

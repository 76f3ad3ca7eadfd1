"""docs/supervisor.md says what the node and the result files say."""

import re
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "supervisor.md").read_text()

needs_ros = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("salus_msgs") is None, reason="needs ROS: make build"
)


@pytest.fixture(scope="module")
def tables():
    spec = spec_from_file_location("supervisor_tables", DOCS / "supervisor_tables.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_ros
def test_parameters_and_figures_are_up_to_date(tables):
    assert tables.generated(PAGE) == PAGE, f"run: {sys.executable} docs/supervisor_tables.py"


@needs_ros
def test_every_parameter_has_its_range_and_default(tables):
    rows = tables.parameter_table(tables.PARAMETERS).splitlines()
    assert any(row.startswith("| `tracking_error` | 0.1 | 0.001 to 1 | yes | ") for row in rows)
    assert any(row.startswith("| `realtime_priority` | 80 | 0 to 98 |  | ") for row in rows)
    assert any(row.startswith("| `journal_keep_mib` | 4096 | 1 to ") for row in rows)


def test_every_cause_that_can_be_named_is_explained():
    """SupervisorState.reasons names them."""
    from salus_ros.supervision.modes import CAUSES

    missing = [name for name in CAUSES if f"`{name}`" not in PAGE]
    assert not missing


def test_every_mode_is_in_the_diagram():
    from salus_ros.supervision.modes import Mode

    texts = {
        element.text
        for element in ElementTree.parse(DOCS / "supervisor_modes.svg").getroot().iter()
    }
    assert {mode.name for mode in Mode} <= texts


def test_files_that_the_page_points_to_are_there():
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert "supervisor_modes.svg" in links
    assert [link for link in links if not (DOCS / link).exists()] == []

"""Every table of results in README and docs comes from a result file."""

import json
import re
import shutil
from pathlib import Path

import pytest
from command_line import invoke

from salus_ros.bench.everything import ALL, Bench, run
from salus_ros.bench.markdown import table
from salus_ros.bench.pages import BLOCKS, pages, read_results

ROOT = Path(__file__).resolve().parents[2]
OTHERWISE_MADE = re.compile(r"<!-- ([\w-]+):begin -->.*?<!-- \1:end -->", re.DOTALL)
MEASURED = re.compile(r"\d\s?(ms|µs|MB|GB)\b|\d\s?%|\d\.\d+x\b")
"""What a cell with a measurement looks like."""
NAMES_ITS_FILE = re.compile(r"results/[\w.-]+\.json")
ABOUT_RESULTS = re.compile(r"#+ .*(measured|speed|cost|results)", re.IGNORECASE)
"""Headings of sections with results; other tables have units, too, of limits and defaults."""


@pytest.mark.parametrize("name", BLOCKS)
def test_a_page_is_what_the_result_files_say(name):
    assert pages(ROOT)[ROOT / name] == (ROOT / name).read_text(), "run `salus bench report`"


def measured_by_hand():
    """Pages with a table of measurements that no command makes."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = OTHERWISE_MADE.sub("", page.read_text())
        for section in re.split(r"\n(?=#+ )", text):
            rows = [line for line in section.splitlines() if line.startswith("|")]
            if ABOUT_RESULTS.match(section) and any(MEASURED.search(row) for row in rows):
                yield page, section.splitlines()[0]


def test_tables_that_no_command_makes_name_a_result_file_that_is_there():
    found = list(measured_by_hand())
    assert found, "all tables are made by a command now: drop this test"
    for page, title in found:
        there = [f for f in NAMES_ITS_FILE.findall(page.read_text()) if (ROOT / f).is_file()]
        assert there, f"{page.name}, {title!r}: measurements, and no result file that is there"


def test_result_files_tell_their_hardware_versions_and_commit():
    for name, content in read_results(ROOT / "results").items():
        for part in content.get("runs", [content]):
            missing = {"hardware", "versions", "commit"} - set(part)
            assert not missing, f"results/{name}.json lacks {missing}"


@pytest.fixture
def copy(tmp_path):
    (tmp_path / "docs").mkdir()
    for page in BLOCKS:
        shutil.copy(ROOT / page, tmp_path / page)
    shutil.copytree(ROOT / "results", tmp_path / "results")
    return tmp_path


def test_a_changed_figure_is_found_and_put_right(copy):
    page = copy / "README.md"
    text = page.read_text()
    page.write_text(text.replace(" times real time", "9 times real time"))
    code, said = invoke("bench", "report", "--root", copy, "--check")
    assert code == 1
    assert "README.md" in said
    assert invoke("bench", "report", "--root", copy)[0] == 0
    assert page.read_text() == text


def test_a_new_result_changes_the_page(copy):
    file = copy / "results" / "lockstep.json"
    content = json.loads(file.read_text())
    content["without_rendering"]["times_real_time"] = 1234.5
    file.write_text(json.dumps(content))
    assert invoke("bench", "report", "--root", copy)[0] == 0
    assert "1234.5 times real time" in (copy / "README.md").read_text()


def test_a_missing_mark_and_a_garbled_result_are_one_line(copy):
    (copy / "results" / "lockstep.json").write_text("{")
    code, said = invoke("bench", "report", "--root", copy)
    assert (code, "is no JSON" in said) == (1, True)
    (copy / "results" / "lockstep.json").unlink()
    (copy / "README.md").write_text("nothing")
    code, said = invoke("bench", "report", "--root", copy)
    assert (code, "has no <!-- results:begin -->" in said) == (1, True)


def test_every_benchmark_is_a_command_that_exists():
    from click import Context
    from typer.main import get_command

    from salus_ros.cli.main import app

    for bench in ALL:
        command = get_command(app)
        words = list(bench.arguments)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        with Context(command) as context:
            command.make_parser(context).parse_args([*words, "--json", "x"])


def test_a_benchmark_writes_its_command_and_a_failed_one_leaves_the_older_file(tmp_path):
    good = Bench("sedac.json", ("bench", "sedac", "--rounds", "3"), 1)
    assert run(good, tmp_path, "") == ""
    content = json.loads((tmp_path / "sedac.json").read_text())
    assert content["command"] == "salus bench sedac --rounds 3"
    assert {"hardware", "versions", "commit"} <= set(content)
    bad = Bench("sedac.json", ("compile", "--max", "speed=1"), 1)
    assert "unknown axis 'speed'" in run(bad, tmp_path, "")
    assert json.loads((tmp_path / "sedac.json").read_text()) == content
    assert [f.name for f in tmp_path.iterdir()] == ["sedac.json"]


def test_an_unknown_benchmark_is_one_line(tmp_path):
    code, said = invoke("bench", "all", "--out", tmp_path, "--only", "speed")
    assert code == 1
    assert "no benchmark 'speed'; there are: sedac_bench" in said


def test_cells_cannot_break_a_table():
    assert table(["a"], [["x | <y"]]).splitlines()[-1] == "| x \\| &lt;y |"

"""`salus journal`: exit codes, messages, figures."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from salus_ros.cli.errors import USAGE, UserError
from salus_ros.cli.main import app
from salus_ros.interfaces import Instant
from salus_ros.supervision.interventions import Intervention, Kind
from salus_ros.supervision.journal.files import journal_files
from salus_ros.supervision.journal.records import intervention_record, life_record
from salus_ros.supervision.journal.recovery import recover
from salus_ros.supervision.journal.store import JournalStore
from salus_ros.supervision.modes import Mode

SECOND = 10**9
DAY = 86400 * SECOND


def act(at, before, after, reason, value=1.0, detectors=(), **changes):
    """A record `at` so many seconds on the steady clock."""
    stamp = Instant(at * SECOND, at * SECOND)
    text = f"[bold]{reason}[/bold]\x1b[2J"  # neither markup nor commands
    made = Intervention(stamp, at, before, after, Kind.EVENT, reason, text, value=value, bound=0.5)
    return intervention_record(made, [reason], dict(detectors)) | changes


@pytest.fixture
def folder(tmp_path):
    """60 s of which 10 in HOLD at first, 30 in NOMINAL, 20 in STOP."""
    records = [
        life_record("activated", Mode.INACTIVE, Mode.HOLD, Instant(0, 0)),
        act(10, Mode.HOLD, Mode.NOMINAL, "resumed", detectors={"step_drift": 0.2}.items()),
        act(40, Mode.NOMINAL, Mode.STOP, "tracking_error", 0.7, {"step_drift": 1.5}.items()),
        act(60, Mode.STOP, Mode.HOLD, "hold_requested", float("inf")),
        life_record("deactivated", Mode.HOLD, Mode.INACTIVE, Instant(0, 60 * SECOND)),
    ]
    path = tmp_path / "journal"
    path.mkdir()
    store = JournalStore(path, recover(path, None), None, 1 << 20)
    for day, record in enumerate(records):
        record["wall"] = 1_800_000_000 * SECOND + day * DAY
        store.append(f'"session":"s","left_out":{day},{json.dumps(record)[1:-1]}'.encode())
    store.sync()
    store.close()
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["journal", *map(str, arguments)])


def shown(folder, *options):
    result = run("show", folder, "--json", "-", *options)
    assert result.exit_code == 0, result.output
    return [entry["sequence"] for entry in json.loads(result.stdout)["entries"]]


def test_an_intact_journal(folder):
    result = run("verify", folder)
    assert result.exit_code == 0
    assert result.stdout.startswith("intact: 5 lines in 1 files; head: line 5, ")
    head = result.stdout.split()[-1]
    assert run("verify", folder, "--head", head).exit_code == 0


def test_a_changed_journal_is_exit_code_1_and_one_line_a_problem(folder):
    (path,) = journal_files(folder)
    path.write_bytes(path.read_bytes().replace(b"tracking_error", b"nothing_at_all", 1))
    result = run("verify", folder, "--head", "0" * 64)
    assert result.exit_code == 1
    first, second, last = result.stdout.splitlines()
    assert first == "journal-000000000001.jsonl, line 3: changed since it was written"
    assert second.startswith("journal-000000000001.jsonl: the head 000") and "cut" in second
    assert last.startswith("not intact: 2 problems; ")


@pytest.mark.parametrize("command", ["verify", "show", "report"])
def test_no_journal_is_an_error_of_one_line(tmp_path, command):
    result = run(command, tmp_path)
    assert isinstance(result.exception, UserError)
    assert "holds no journal: there is no journal-*.jsonl in it" in str(result.exception)
    assert "neither a folder nor a file" in str(run(command, tmp_path / "none").exception)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("verify", "--head", "abc"), "--head 'abc' is no SHA-256"),
        (("show", "--mode", "fast"), "--mode FAST is none of INACTIVE, NOMINAL"),
        (("show", "--since", "soon"), "--since 'soon' is no time: give 2026-05-01T12:00"),
    ],
)
def test_wrong_options_are_exit_code_2(folder, arguments, says):
    command, *options = arguments
    error = run(command, folder, *options).exception
    assert isinstance(error, UserError) and error.exit_code == USAGE
    assert says in str(error)


def test_a_key_that_cant_be_read_is_an_error(folder, tmp_path):
    error = run("verify", folder, "--key", tmp_path / "none").exception
    assert isinstance(error, UserError) and "No such file or directory" in str(error)


def test_show_filters(folder):
    assert shown(folder) == [1, 2, 3, 4, 5]
    assert shown(folder, "--reason", "tracking_error") == [3]
    assert shown(folder, "--mode", "stop") == [3, 4]
    assert shown(folder, "--limit", "2") == [4, 5]
    assert shown(folder, "--since", "2027-01-17T12:00:00+00:00") == [4, 5]
    assert shown(folder, "--since", "1d", "--reason", "x") == []


def test_show_prints_values_and_texts_as_they_are(folder):
    printed = run("show", folder, "--reason", "tracking_error").stdout
    for text in ("0.7 / 0.5", "STOP", "left out", "[bold]"):
        assert text in printed
    assert "\x1b" not in printed
    assert "inf / 0.5" in run("show", folder).stdout


def test_report_sums_up(folder):
    result = run("report", folder, "--json", "-")
    figures = json.loads(result.stdout)
    assert figures["interventions"] == 3
    assert figures["left_out"] == 10
    assert figures["reasons"]["tracking_error"] == 1
    assert figures["worst"]["tracking_error"] == {"value": 0.7, "bound": 0.5}
    assert figures["worst"]["hold_requested"] == {"value": "inf", "bound": 0.5}
    assert figures["detectors"] == {"step_drift": 1.5}
    assert figures["mode_seconds"] == {"HOLD": 10.0, "NOMINAL": 30.0, "STOP": 20.0}
    assert "step_drift" in run("report", folder).stdout


def test_lines_that_cant_be_read_are_told(folder):
    with journal_files(folder)[0].open("ab") as file:
        file.write(b'\xff\xfe[bold]\n{"a":')
    assert "2 lines can't be read: run salus journal verify" in run("report", folder).stdout
    assert "2 lines can't be read" in run("show", folder).stdout


def test_the_real_command_ends_with_1_and_one_line(tmp_path):
    command = [sys.executable, "-m", "salus_ros.cli.main", "journal", "verify", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ") and len(result.stderr.splitlines()) == 1

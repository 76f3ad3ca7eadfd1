"""`salus evaluate signals`: the picture shows both episodes, and says where it can't be made."""

from xml.etree import ElementTree

import pytest
from test_replay_recordings import DROP, SUCCESS, happenings, write
from test_replay_signal_calibration import undisturbed
from typer.testing import CliRunner

from salus_ros.cli.main import app
from salus_ros.signals.layout import SIGNAL_NAMES

SVG = "{http://www.w3.org/2000/svg}"


def evaluate(folder, out, *options):
    arguments = ["evaluate", "signals", "--bags", str(folder), "--out", str(out), *options]
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def bags(tmp_path):
    write(tmp_path / "bags" / "good", undisturbed(happenings(SUCCESS)))
    write(tmp_path / "bags" / "bad", happenings(DROP))
    return tmp_path / "bags"


def test_each_signal_is_drawn_for_both(bags, tmp_path):
    out = tmp_path / "signals.svg"
    done = evaluate(bags, out, "--disturbance", "latency")
    assert done.exit_code == 0, done.output
    picture = ElementTree.parse(out).getroot()
    texts = [t.text for t in picture.iter(f"{SVG}text")]
    assert [t for t in texts if t.split()[-1] in SIGNAL_NAMES] == [
        f"{i} {name}" for i, name in enumerate(SIGNAL_NAMES, start=1)
    ]
    assert any("failure: drop, onset 0.52 s, latency" in t for t in texts)
    lines = [p for p in picture.iter(f"{SVG}path") if p.get("d").count("L") > 20]
    assert len(lines) == 2 * len(SIGNAL_NAMES)


def test_without_such_a_failure_it_says_so(bags, tmp_path):
    done = evaluate(bags, tmp_path / "signals.svg", "--disturbance", "joint_friction")
    assert "0 failures under joint_friction" in str(done.exception)
    assert not (tmp_path / "signals.svg").exists()

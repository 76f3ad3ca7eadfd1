"""The node processes of `salus demo` and `salus up`."""

import signal
import subprocess
from pathlib import Path

import pytest

from salus_ros.cli import processes
from salus_ros.cli.processes import NodeProcess, ProcessGroup, interrupt_on_signals


class Sleeper(NodeProcess):
    def command(self):
        return ["sleep", "100"]


@pytest.fixture
def signals_restored():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_child_starts_leaves_no_child(monkeypatch, signals_restored, number):
    children = []

    def popen_with_a_signal_inside(*arguments, **options):
        children.append(subprocess.Popen(*arguments, **options))
        signal.raise_signal(number)
        return children[-1]

    interrupt_on_signals()
    fake = type("subprocess", (), {**vars(subprocess), "Popen": popen_with_a_signal_inside})
    monkeypatch.setattr(processes, "subprocess", fake)
    with pytest.raises(KeyboardInterrupt), ProcessGroup([Sleeper("sleeper", Path())]):
        pytest.fail("the group was entered")
    assert [child.poll() is not None for child in children] == [True]

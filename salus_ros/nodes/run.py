"""Runs one node in one process: signals, exit codes, errors of one line."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import rclpy
from rclpy.executors import Executor
from rclpy.signals import SignalHandlerOptions

from salus_ros.die_with_parent import die_with_parent_if_asked
from salus_ros.nodes.base_node import NodeBasics
from salus_ros.nodes.static_executor import StaticExecutor

EXIT_USAGE = 2
WAKE_PERIOD = 0.05  # s; how soon a signal is noticed while nothing else happens


class StopRequest:
    """Remembers that SIGINT or SIGTERM came, so that a node can finish what it must."""

    def __init__(self) -> None:
        self.requested = False
        self._handle_with(self._on_signal)

    def ignore_from_now(self) -> None:
        """The process is ending anyway: a second Ctrl-C must not make that look like a crash."""
        self._handle_with(signal.SIG_IGN)

    def _handle_with(self, handler: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True


def spin_until_stopped(node: NodeBasics, executor: Executor, stop: StopRequest) -> None:
    """Spin; a callback's exception that rclpy lets out is logged and the spin goes on."""
    executor.add_node(node)
    try:
        while not stop.requested and node.exit_code is None:
            try:
                executor.spin_once(timeout_sec=WAKE_PERIOD)
            except Exception as error:  # the node must outlive any one message
                node.report(f"spin/{type(error).__name__}", repr(error))
    finally:
        node.close()
        executor.shutdown()


def run(
    make_node: Callable[[], NodeBasics],
    args: Sequence[str] | None = None,
    make_executor: Callable[[], Executor] = StaticExecutor,
) -> int:
    """Run a node until SIGINT, SIGTERM or its own `exit_code`; returns the process's exit code.

    0 after a clean stop, 2 where the node can't start (one line on stderr says why; with
    SALUS_TRACEBACK=1 in the environment, the whole traceback).
    """
    die_with_parent_if_asked()
    stop = StopRequest()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
    except Exception as error:
        if os.environ.get("SALUS_TRACEBACK"):
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_USAGE
    # A full collection over all that the imports left takes some 0.1 s, and comes at any moment.
    gc.collect()
    gc.freeze()
    try:
        spin_until_stopped(node, make_executor(), stop)
        node.destroy_node()
    finally:
        stop.ignore_from_now()
        rclpy.try_shutdown()
    exit_code = node.exit_code or 0
    # What is still alive when the interpreter ends, extensions report as leaked.
    del node
    gc.enable()
    gc.unfreeze()
    gc.collect()
    return exit_code

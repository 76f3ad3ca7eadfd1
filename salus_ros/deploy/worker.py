"""Measures in processes of their own, so that one that runs out of memory ends only itself."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

PRELOADED = "salus_ros.deploy.measure"
"""Imported once, with what the first subject needs, in the process that others are forked from."""

Result = dict[str, Any]
"""What was measured, or `problem`: why it could not be."""


def problem_of(error: BaseException) -> str:
    """One line."""
    line = " ".join(str(error).split())[:200]
    told = "can't allocate memory" in line or "out of memory" in line.lower()
    if told or isinstance(error, MemoryError):
        return f"out of memory: {line}"
    return line or type(error).__name__


def in_this_process(function: Callable[..., Any], *arguments: Any) -> Result:
    """For tests, and for what does no harm here."""
    try:
        return {"value": function(*arguments)}
    except Exception as error:  # a configuration may fail in any way: a finding, not an error
        return {"problem": problem_of(error)}


def _serve(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe.send(in_this_process(function, *arguments))
    pipe.close()


def _end_with_parent() -> None:
    """A search that is killed leaves nothing behind that goes on measuring."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Result:
    """`value`: what the function returns, or `problem`."""
    context = multiprocessing.get_context("forkserver")
    modules = {type(argument).__module__ for argument in arguments}
    context.set_forkserver_preload([PRELOADED, *(m for m in modules if m.startswith("salus_ros"))])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        result: Result = ours.recv()
    except EOFError:
        process.join()
        return {"problem": _how_it_ended(process.exitcode)}
    finally:
        ours.close()
        if process.is_alive():
            process.join(10.0)
        if process.is_alive():
            process.terminate()
    return result


def _how_it_ended(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "out of memory: the system killed the process"
    if code is not None and code < 0:
        return f"the process ended with {signal.Signals(-code).name}"
    return f"the process ended with exit code {code}"

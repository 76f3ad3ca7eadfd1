"""The journal's parameters, where it lies, and what /diagnostics says of it."""

from __future__ import annotations

import os
from pathlib import Path

from salus_ros.diagnosis import Diagnosis, Level
from salus_ros.nodes.managed_node import ConfigurationError, ManagedNode
from salus_ros.nodes.parameters import Parameter
from salus_ros.supervision.journal.errors import JournalError
from salus_ros.supervision.journal.feeder import MAX_BYTES, Journal
from salus_ros.supervision.journal.retention import KEEP_BYTES

MIB = 1 << 20

JOURNAL_PARAMETERS = (
    Parameter(
        "journal_folder",
        "",
        "Folder of the journal, for this supervisor alone. Empty: "
        "$XDG_STATE_HOME/salus/journal/domain-<ROS domain>/<node>, XDG_STATE_HOME being "
        "~/.local/state where it isn't set.",
    ),
    Parameter(
        "journal_key_file", "", "File with the key that makes each line an HMAC. Empty: no key."
    ),
    Parameter(
        "journal_max_bytes", MAX_BYTES, "Size at which a file of the journal ends.", 65536, 1 << 30
    ),
    Parameter(
        # In bytes the numbers would be beyond those of rqt's sliders.
        "journal_keep_mib",
        KEEP_BYTES // MIB,
        "Size [MiB] of all files of the journal beyond which the oldest are deleted, whole.",
        1,
        1 << 30,
    ),
)


def open_journal(node: ManagedNode) -> Journal:
    """Start the journal of a node.

    Raises ConfigurationError where the journal can't be written.
    """
    folder, key = node.parameter("journal_folder"), node.parameter("journal_key_file")
    try:
        return Journal(
            Path(folder).expanduser() if folder else default_folder(node),
            key_file=Path(key).expanduser() if key else None,
            max_bytes=node.parameter("journal_max_bytes"),
            keep_bytes=node.parameter("journal_keep_mib") * MIB,
        )
    except (JournalError, RuntimeError) as error:
        raise ConfigurationError(str(error)) from error


def journal_diagnosis(node: str, journal: Journal) -> Diagnosis:
    """ERROR as long as nothing is recorded."""
    values = {
        "folder": journal.folder,
        "line": journal.head.sequence,
        "records": journal.fed,
        "left_out": journal.refused,
    }
    level = Level.ERROR if journal.problem else Level.OK
    return Diagnosis(f"{node}: journal", level, journal.problem or "recording", values)


def default_folder(node: ManagedNode) -> Path:
    """One for each ROS domain and node name, for two supervisors must not share one."""
    # A relative XDG_STATE_HOME is invalid (XDG Base Directory Specification).
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        state = Path.home() / ".local" / "state"
    domain = f"domain-{node.context.get_domain_id()}"
    name = node.get_fully_qualified_name().strip("/")
    return state / "salus" / "journal" / domain / name

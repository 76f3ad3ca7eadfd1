"""The journal's parameters, and where it lies."""

from __future__ import annotations

import os
from pathlib import Path

from salus_ros.nodes.managed_node import ConfigurationError, ManagedNode
from salus_ros.nodes.parameters import Parameter
from salus_ros.supervision.journal.errors import JournalError
from salus_ros.supervision.journal.feeder import MAX_BYTES, Journal

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
)


def open_journal(node: ManagedNode) -> Journal:
    """Start the journal of a node; raises ConfigurationError where it can't be written."""
    folder, key = node.parameter("journal_folder"), node.parameter("journal_key_file")
    try:
        return Journal(
            Path(folder).expanduser() if folder else default_folder(node),
            key_file=Path(key).expanduser() if key else None,
            max_bytes=node.parameter("journal_max_bytes"),
        )
    except (JournalError, RuntimeError) as error:
        raise ConfigurationError(str(error)) from error


def default_folder(node: ManagedNode) -> Path:
    """One for each ROS domain and node name, for two supervisors must not share one."""
    # A relative XDG_STATE_HOME is invalid (XDG Base Directory Specification).
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        state = Path.home() / ".local" / "state"
    domain = f"domain-{node.context.get_domain_id()}"
    name = node.get_fully_qualified_name().strip("/")
    return state / "salus" / "journal" / domain / name

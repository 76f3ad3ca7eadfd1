"""What a YAML file of the robot's limits holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from salus_ros.supervision.errors import LimitsError


def read_yaml(path: Path) -> Any:
    """The content. Raises LimitsError, one line, where it can't be read or is no YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise LimitsError(f"{path}: can't be read: {error}") from error
    except yaml.YAMLError as error:
        raise LimitsError(f"{path}: not YAML: {' '.join(str(error).split())}") from error

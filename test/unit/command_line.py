"""The command line as a test runs it: in this process."""

from typer.testing import CliRunner

from salus_ros.cli.errors import UserError
from salus_ros.cli.main import app


def invoke(*arguments):
    """Exit code and what was said; as `main` does for expected errors."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, UserError):
        return result.exception.exit_code, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output

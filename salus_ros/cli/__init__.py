"""The `salus` command, one file a sub-command."""

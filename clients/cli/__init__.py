"""The `echoloop` command."""

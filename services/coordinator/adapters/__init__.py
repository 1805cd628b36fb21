"""One package or module per technology behind the coordinator's ports."""

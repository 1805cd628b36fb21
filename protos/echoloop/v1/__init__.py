"""Version 1 of the EchoLoop contracts."""

"""What users hold in their hands: the Python client, the `echoloop` command, the demo.

Import from the modules; this package re-exports nothing, so that `echoloop --help` stays quick.
"""

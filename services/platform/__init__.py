"""What every service shares: errors, blobs, images, telemetry, settings, server and client.

Import from the modules (`services.platform.errors`, ...): several pull in heavy dependencies, so
this package re-exports nothing.
"""

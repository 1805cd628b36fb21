"""EchoLoop's services: one package per process, plus what they share (`services.platform`)."""

import os

# gRPC's C core reads this when it is first imported, so no later place will do. It would write a
# plain "Got goaway" line between the JSON lines each time that a neighbour stops.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

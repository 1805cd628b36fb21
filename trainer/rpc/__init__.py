"""gRPC face of the trainer: thin servicer, pure converters."""

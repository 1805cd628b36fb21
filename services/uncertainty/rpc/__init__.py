"""UncertaintyService over gRPC."""

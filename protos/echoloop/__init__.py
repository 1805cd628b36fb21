"""Generated gRPC contracts of EchoLoop; see the .proto files beside the stubs."""

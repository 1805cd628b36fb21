"""Everything that runs EchoLoop somewhere: the embedded Triton server and the deployment files."""

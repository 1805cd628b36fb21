"""Triton and the blob store behind the ports of the domain."""

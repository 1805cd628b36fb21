"""Triton, the coordinator and image codecs behind the ports of the domain."""

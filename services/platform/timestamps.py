"""Moments as protocol messages."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

__all__ = ["timestamp"]


def timestamp(moment: datetime) -> Timestamp:
    """Return a UTC moment as a message."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message

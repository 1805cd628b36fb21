"""Protocol messages as plain JSON values: whole numbers stay numbers, enum values are words."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

__all__ = ["enum_word", "jsonable"]


def jsonable(value: Any) -> Any:
    """Return a value of dicts, lists, strings, numbers and booleans.

    An absent optional field, message or oneof member is left out; bytes (images) are left out.
    """
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Message):
        return _message(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return value


def enum_word(descriptor: EnumDescriptor, number: int) -> str:
    """Return `RUNNING` for CAMPAIGN_STATE_RUNNING; empty for the unspecified value."""
    known = descriptor.values_by_number.get(number)
    if known is None:
        return str(number)
    # By the style guide every value begins with the name of its enum.
    prefix = descriptor.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return "" if number == 0 else known.name.removeprefix(prefix)


def _message(message: Message) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.type == FieldDescriptor.TYPE_BYTES:
            continue
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if field.is_repeated:
            result[field.name] = [_scalar(field, item) for item in value]
        else:
            result[field.name] = _scalar(field, value)
    return result


def _scalar(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        return enum_word(field.enum_type, value)
    return jsonable(value)

"""The one error tree of EchoLoop.

Domain packages subclass these. No class knows a transport: `services.platform.rpc_errors` maps
them. The message of an `EchoLoopError` is public: it says what was wrong, what is allowed and what
to do next, and never carries patient data, paths or SQL.
"""

import re

__all__ = [
    "AlreadyExistsError",
    "CancelledError",
    "DeadlineExceededError",
    "EchoLoopError",
    "IllegalStateError",
    "InternalError",
    "InvalidInputError",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "StaleError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnsupportedError",
    "reason_of",
]

_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def reason_of(class_name: str) -> str:
    """Return the machine-readable reason of an error class: `LeaseExpired` -> `LEASE_EXPIRED`.

    A trailing `Error` says nothing to a machine and is dropped.
    """
    stem = class_name.removesuffix("Error") or class_name
    return _WORD_BOUNDARY.sub("_", stem).upper()


class EchoLoopError(Exception):
    """Base of every error that EchoLoop raises on purpose.

    Attributes:
        message: Public text.
        reason: Stable machine-readable reason, derived from the class name; an error received from
            another process keeps the reason it had there.
    """

    reason: str = "ECHO_LOOP"

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.reason = reason_of(cls.__name__)

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason


class NotFoundError(EchoLoopError):
    """The named thing does not exist."""


class AlreadyExistsError(EchoLoopError):
    """A thing of that name exists, with other content."""


class InvalidInputError(EchoLoopError):
    """The request is wrong in itself; repeating it cannot succeed."""


class IllegalStateError(EchoLoopError):
    """The request is well formed but the current state forbids it."""


class StaleError(EchoLoopError):
    """The caller acted on something that changed meanwhile: an old version, a lost lease."""


class UnavailableError(EchoLoopError):
    """A dependency is down or still loading; the same request may succeed later."""


class DeadlineExceededError(UnavailableError):
    """The answer did not arrive in the time allowed."""


class OverloadedError(EchoLoopError):
    """A queue or a limit is full; retry with back-off."""


class PermissionDeniedError(EchoLoopError):
    """The caller is known and may not do this."""


class UnauthenticatedError(EchoLoopError):
    """The caller did not prove who it is."""


class CancelledError(EchoLoopError):
    """The work was cancelled on request. Not `asyncio.CancelledError`, which cancels a task."""


class UnsupportedError(EchoLoopError):
    """This build or configuration does not offer the operation."""


class InternalError(EchoLoopError):
    """A defect, here or in the called process; details are in that process's log."""

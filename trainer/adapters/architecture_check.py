"""Checks whether a network exists, in a process of its own: `python -m ... MODEL_SPEC IMAGE_SIZE`.

The names of encoders are known to libraries that need torch, which the trainer process keeps out:
it would hold half a gigabyte for good, and training happens elsewhere.
"""

import asyncio
import json
import sys
from collections.abc import Mapping

from pydantic import TypeAdapter

from services.platform.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidInputError,
)
from trainer.domain.specs import ModelSpec

__all__ = ["ArchitectureCheck", "main"]

_MODEL = TypeAdapter(ModelSpec)
_TIMEOUT_S = 120.0


class ArchitectureCheck:
    """Asks a process and remembers its answers. For use from one event loop.

    Args:
        trusted: Networks that need no check from a resolution on, such as those of the presets.
    """

    def __init__(self, trusted: Mapping[ModelSpec, int]) -> None:
        self._answers: dict[tuple[ModelSpec, int], asyncio.Task[tuple[str, str] | None]] = {}
        self._trusted = trusted
        self._one_at_a_time = asyncio.Lock()  # each process takes half a gigabyte

    async def check(self, network: ModelSpec, image_size: int) -> None:
        """Return if the network can be built.

        Raises:
            InvalidInputError: It cannot; the reason and the text are those of the model builder.
            DeadlineExceededError: The check took too long; the machine is overloaded.
        """
        smallest = self._trusted.get(network)
        if smallest is not None and image_size >= smallest:
            return
        key = (network, image_size)
        known = self._answers.get(key)
        if known is None or (known.done() and (known.cancelled() or known.exception())):
            known = self._answers[key] = asyncio.create_task(self._ask(network, image_size))
        # A caller that gives up does not end the check: its next try finds the answer.
        refusal = await asyncio.shield(known)
        if refusal is not None:
            reason, message = refusal
            raise InvalidInputError(message, reason=reason)

    async def _ask(self, network: ModelSpec, image_size: int) -> tuple[str, str] | None:
        async with self._one_at_a_time:
            return await _ask(network, image_size)


async def _ask(network: ModelSpec, image_size: int) -> tuple[str, str] | None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, _MODEL.dump_json(network).decode(), str(image_size)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError as exc:
        raise DeadlineExceededError(
            "The architecture could not be checked in time. Try again."
        ) from exc
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
    try:
        answer = json.loads(output)
    except ValueError as exc:
        raise InternalError("The architecture could not be checked.") from exc
    return None if answer is None else (str(answer["reason"]), str(answer["message"]))


def main(argv: list[str] | None = None) -> int:
    """Print `null`, or the reason and text of a refusal as JSON."""
    from trainer.adapters.smp_models import check_architecture  # noqa: PLC0415  # needs torch

    network, image_size = sys.argv[1:] if argv is None else argv
    answer = None
    try:
        check_architecture(_MODEL.validate_json(network), int(image_size))
    except InvalidInputError as error:
        answer = {"reason": error.reason, "message": error.message}
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())

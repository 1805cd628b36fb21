"""The trainer's side of a Ray cluster: `python -m trainer.ray_driver ADDRESS PARENT_PID`.

A process of its own, because Ray ends the process that is connected to a cluster when the cluster's
head is gone for long; the trainer has to outlive that. It is spoken to in lines of JSON:
in  `{"start": N, "folder": .., "program": [..], "environment": {..}, "cpus": ..,
    "gpus": .., "memory_bytes": ..}`, `{"signal": N, "name": "SIGTERM"}`;
out `{"ready": true}` or `{"refused": TEXT}` once, then for each worker `{"worker": N, ..}` with
    the messages of `WorkerHost.run`, and in place of its last one `{"lost": TEXT}` when its machine
    went away or `{"unavailable": TEXT}` when it could not be started.

Ray queues, places and ends the workers with this process. It does not repeat any: whoever waits for
a worker prepares its folder anew, counts the attempt and may have changed its mind. A repetition is
cheap either way, since work carries on from its checkpoint; one behind the back of the search would
report epochs for an order that is no longer valid.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from services.platform.parent import die_with_parent
from services.platform.telemetry import configure_logging
from trainer.adapters.worker_host import FolderNotShared, Message, WorkerHost

__all__ = ["main"]

NAMESPACE: Final = "echoloop"
_NODE_DEATH_TIMEOUT_S: Final = 120.0
"""Ray calls a machine dead after five failed health checks. With its default settings that is 15 s
where connections are refused, and about a minute where nothing answers at all."""

_POLL_S: Final = 0.25

_log = structlog.get_logger(__name__)


class RayDriver:
    """Runs workers as Ray actors and says how they get on.

    For use from one event loop, connected to a cluster.

    Args:
        say: Takes each message.
    """

    def __init__(self, say: Callable[[Message], None]) -> None:
        self._say = say
        self._actors: dict[int, Any] = {}
        self._started: set[int] = set()
        self._ended_by: dict[int, signal.Signals] = {}  # of those that were ended as actors
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, commands: AsyncIterator[bytes]) -> None:
        """Carry out commands until there are no more."""
        async for line in commands:
            command = json.loads(line)
            if "start" in command:
                self._start(command["start"], command)
            else:
                self._signal(command["signal"], signal.Signals[command["name"]])

    def _start(self, worker: int, command: Message) -> None:
        try:
            actor = _host(command)
        except Exception as error:
            _log.exception("ray.defect")
            self._say({"worker": worker, "unavailable": _failed(error)})
            return
        self._actors[worker] = actor  # now: the next command may be to end it
        task = asyncio.create_task(self._follow(worker, actor, command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, worker: int, actor: Any, command: Message) -> None:
        import ray  # noqa: PLC0415
        from ray.exceptions import RayError  # noqa: PLC0415

        node: str | None = None
        try:
            messages = actor.run.options(num_returns="streaming").remote(
                command["folder"], command["program"], command["environment"]
            )
            async for reference in messages:
                message = await reference
                if "started" in message:
                    node = message["node"]
                    self._started.add(worker)
                self._say({"worker": worker, **message})
                if "ended" in message:
                    return
            raise RuntimeError("the worker's host ended early")
        except RayError as error:
            self._say({"worker": worker, **await self._verdict(worker, node, error)})
        except Exception as error:
            _log.exception("ray.defect")
            self._say({"worker": worker, "unavailable": _failed(error)})
        finally:
            del self._actors[worker]
            self._started.discard(worker)
            self._ended_by.pop(worker, None)
            with suppress(RayError):
                ray.kill(actor)

    async def _verdict(self, worker: int, node: str | None, error: Exception) -> Message:
        """Say how a worker ended whose host is gone: by request, with its machine, or by itself."""
        from ray.exceptions import ActorUnavailableError, RayTaskError  # noqa: PLC0415

        if worker in self._ended_by:
            return {"ended": -self._ended_by[worker]}
        _log.warning("ray.host_lost", node=node, error=str(error))
        if isinstance(error, RayTaskError) and isinstance(error.cause, FolderNotShared):
            return {
                "unavailable": "A node of the Ray cluster does not see the trainer's artifacts "
                "folder. Put it on storage that all nodes mount under the same path."
            }
        if node is None:
            return {
                "unavailable": "The Ray cluster could not start the worker. Ray's log says why."
            }
        # Unreachable may still mean alive; a host that Ray calls dead died with its machine or not.
        patience_s = _NODE_DEATH_TIMEOUT_S if isinstance(error, ActorUnavailableError) else 0.0
        deadline = asyncio.get_running_loop().time() + patience_s
        while not await _is_dead(node):
            if worker in self._ended_by or asyncio.get_running_loop().time() >= deadline:
                return {"ended": -self._ended_by.get(worker, signal.SIGKILL)}
            await asyncio.sleep(_POLL_S)
        return {"lost": "The node of the Ray cluster that the worker ran on went away."}

    def _signal(self, worker: int, number: signal.Signals) -> None:
        import ray  # noqa: PLC0415

        actor = self._actors.get(worker)
        if actor is None:
            return
        if worker in self._started and number != signal.SIGKILL:
            actor.signal.remote(int(number))
            return
        # Also what has no place yet: there is no process to ask.
        self._ended_by[worker] = number
        ray.kill(actor)


def _failed(error: Exception) -> str:
    return f"Ray failed with {type(error).__name__}. The trainer's log says why."


def _host(command: Message) -> Any:
    """Ask Ray for a place with the resources that are wanted, and for a host there."""
    import ray  # noqa: PLC0415  # optional, and slow to import

    return (
        ray.remote(_PlacedHost)
        .options(
            num_cpus=command["cpus"],
            num_gpus=command["gpus"],
            memory=command["memory_bytes"],
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=2,  # `run`, and `signal` meanwhile
        )
        .remote()
    )


class _PlacedHost(WorkerHost):
    def __init__(self) -> None:
        import ray  # noqa: PLC0415

        super().__init__(ray.get_runtime_context().get_node_id())


async def _is_dead(node: str) -> bool:
    """Say whether Ray calls a machine dead."""
    import ray  # noqa: PLC0415

    nodes = await asyncio.to_thread(ray.nodes)
    return not any(each["NodeID"] == node and each["Alive"] for each in nodes)


async def _serve(say: Callable[[Message], None]) -> None:
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    await RayDriver(say).serve(commands)


def main(argv: list[str] | None = None) -> int:
    """Serve standard input; return the exit status."""
    address, parent_pid = sys.argv[1:] if argv is None else argv
    die_with_parent(signal.SIGKILL, parent_pid=int(parent_pid))
    configure_logging("trainer.ray_driver")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the trainer, which decides
    with os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8") as out:
        os.dup2(2, 1)
        # Ray's remarks on the cluster, which print pages; what matters to a worker is said below.
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # to the end

        def say(message: Message) -> None:
            out.write(json.dumps(message) + "\n")

        import ray  # noqa: PLC0415

        try:
            ray.init(address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            _log.warning("ray.refused", error=str(error))
            say({"refused": "The Ray cluster does not answer. Check its address, and that this "
                 "machine is a node of it."})  # fmt: skip
            return 1
        say({"ready": True})
        asyncio.run(_serve(say))
        ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())

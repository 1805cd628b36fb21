"""A process that has the training libraries loaded and forks workers: `python -m trainer.nursery`.

Loading torch, Lightning and their company costs about five seconds of processor time. Here it is
paid once; a forked worker starts at once and shares that memory. Nothing else happens in this
process: it stays single-threaded and never computes, which is what makes forking it safe.

It is spoken to over the SEQPACKET socket that is its standard input, in JSON:
in  `{"folder": JOB_FOLDER}` with the write end of a pipe for the worker's reports attached;
out `{"ready": true}`, `{"started": PID}` for each request in order, `{"ended": PID, "status": N}`.
It ends, and the kernel ends its workers with it, when the trainer does. It also ends when it was
idle for a while.
"""

import gc
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from services.platform.parent import die_with_parent
from trainer import worker
from trainer.adapters.job_folder import JobFolder

__all__ = ["MAX_MESSAGE_BYTES", "main"]

MAX_MESSAGE_BYTES: Final = 8192
_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT


def preload() -> None:
    """Load what every training needs and what starts no thread (onnxruntime starts one)."""
    import onnx  # noqa: F401, PLC0415
    import onnxscript  # noqa: F401, PLC0415
    import torch._dynamo  # noqa: PLC0415
    import torch.onnx._internal.exporter._core  # noqa: F401, PLC0415

    import trainer.adapters.lightning_training  # noqa: F401, PLC0415


class Nursery:
    """Forks a worker for each request and says how it ended.

    Args:
        control: Socket to the trainer.
        run: What a forked worker does, given the job folder and the process id of its parent;
            returns the exit status.
        idle_s: Ends when it had no worker for this long.
    """

    def __init__(
        self, control: socket.socket, run: Callable[[str, int], int], idle_s: float
    ) -> None:
        self._control = control
        self._run = run
        self._idle_s = idle_s
        self._children: set[int] = set()

    def serve(self) -> None:
        """Serve until the trainer hangs up or nothing was asked for long."""
        wake_read, wake_write = os.pipe()
        for descriptor in (wake_read, wake_write):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        self._say(ready=True)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(wake_read, selectors.EVENT_READ)
            while True:
                events = selector.select(None if self._children else self._idle_s)
                if not events and not self._children:
                    return
                ready = {key.fileobj for key, _ in events}
                if wake_read in ready:
                    os.read(wake_read, MAX_MESSAGE_BYTES)
                    self._reap()
                if self._control in ready and not self._take_request():
                    return

    def _take_request(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE_BYTES, 1)
        if not message:
            return False
        (reports,) = descriptors
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_worker(json.loads(message)["folder"], reports, parent)
        os.close(reports)
        self._children.add(pid)
        self._say(started=pid)
        return True

    def _become_worker(self, folder: str, reports: int, parent: int) -> None:
        """Do the work in the forked process, and end it without returning."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            self._control.close()
            _redirect(os.open(os.devnull, os.O_RDONLY), 0)  # was the control socket, too
            _redirect(reports, 1)
            _redirect(os.open(JobFolder(Path(folder)).log, _APPEND, 0o644), 2)
            status = self._run(folder, parent)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._children.discard(pid)
            self._say(ended=pid, status=os.waitstatus_to_exitcode(status))

    def _say(self, **message: Any) -> None:
        self._control.send(json.dumps(message).encode())


def _redirect(descriptor: int, standard: int) -> None:
    os.dup2(descriptor, standard)
    os.close(descriptor)


def main(argv: list[str] | None = None) -> int:
    """Serve the socket at standard input; return the exit status."""
    parent, idle_s = sys.argv[1:] if argv is None else argv
    die_with_parent(signal.SIGKILL, parent_pid=int(parent))
    preload()
    if len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208  # a count, not paths
        sys.stderr.write("The training libraries start threads here; workers are not forked.\n")
        return 1
    gc.collect()
    gc.freeze()  # the collector would touch, and so copy, pages that workers share
    control = socket.socket(fileno=os.dup(0))
    Nursery(control, lambda folder, pid: worker.main([folder, str(pid)]), float(idle_s)).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())

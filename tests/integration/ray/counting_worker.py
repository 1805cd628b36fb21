"""Stands in for the worker program: counts to a target, and carries on from where it was.

FOLDER/target says how far, FOLDER/count how far it is, FOLDER/hold makes it wait after each step,
FOLDER/status says how to end. Every step is a report.
"""

import os
import signal
import sys
import time
from pathlib import Path

from services.platform.parent import die_with_parent


def main() -> int:
    folder, parent = Path(sys.argv[1]), int(sys.argv[2])
    die_with_parent(signal.SIGKILL, parent_pid=parent)
    signal.signal(signal.SIGTERM, lambda signum, frame: os._exit(7))
    count = folder / "count"
    done = int(count.read_text()) if count.exists() else 0
    while done < int((folder / "target").read_text()):
        done += 1
        part = folder / ".count.part"
        part.write_text(str(done))
        part.replace(count)
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()
        while (folder / "hold").exists():
            time.sleep(0.02)
    status = folder / "status"
    return int(status.read_text()) if status.exists() else 0


if __name__ == "__main__":
    sys.exit(main())

"""A real PostgreSQL for tests: own data folder, unix socket only, stopped at the end."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

__all__ = ["PostgresServer", "postgres_server"]

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 20.0


def find_binaries() -> Path | None:
    """Return the folder with `initdb` and `postgres`, the newest release first; None without."""
    packaged = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0,
    )
    on_path = shutil.which("postgres")
    candidates = [*([Path(on_path)] if on_path else []), *packaged]
    return candidates[-1].resolve().parent if candidates else None


class PostgresServer:
    """A running server in a folder of its own, reachable through a unix socket in that folder.

    No port is opened, so nothing can collide and nobody else can connect. Durability is off: the
    server lives as long as the tests.
    """

    def __init__(self, binaries: Path, folder: Path, user: str | None) -> None:
        self._folder = folder
        self._user = user
        data = folder / "data"
        self._run(
            str(binaries / "initdb"),
            *("--pgdata", str(data), "--username", "echoloop", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
        )
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": "80",
        }
        options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(data), *options],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )
        self._wait_ready()

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed: {done.stderr}")

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    log = (self._folder / "log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL did not start: {log}") from None
                time.sleep(0.05)

    def url(self, database: str) -> str:
        """Return the URL of a database on this server."""
        return f"postgresql://echoloop@/{database}?host={self._folder}"

    def create_database(self) -> str:
        """Create an empty database and return its name."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return name

    def stop(self) -> None:
        """End every session and the server. Idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # "fast": does not wait for clients
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait()
        self._log.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for the whole session; skips where it is not installed."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (no postgres on PATH or in /usr/lib/postgresql)")
    # Not pytest's tmp_path: a socket's path may have 107 bytes only.
    folder = Path(tempfile.mkdtemp(prefix="echoloop-pg-"))
    try:
        user = _unprivileged_user() if os.geteuid() == 0 else None
        if user is not None:
            shutil.chown(folder, user)
        server = PostgresServer(binaries, folder, user)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged_user() -> str:
    """Return a user that may run the server, which refuses to be root."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in names:
            return name
    pytest.skip("PostgreSQL does not run as root and there is neither a user postgres nor nobody")

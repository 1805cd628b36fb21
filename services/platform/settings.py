"""Settings that every service has, and how `main` reads them.

A service subclasses `ServiceSettings`, sets its environment prefix and its default ports, and adds
its own fields:

    class CoordinatorSettings(ServiceSettings):
        model_config = SettingsConfigDict(env_prefix="ECHOLOOP_COORDINATOR_")
        listen: str = "127.0.0.1:7101"
        metrics_listen: str = "127.0.0.1:9101"
"""

import argparse
import ipaddress
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.platform.telemetry import LogFormat, LogLevel

__all__ = ["ServiceSettings", "TlsFiles", "is_loopback", "load_settings", "split_address"]

_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one end of a TLS connection.

    Attributes:
        cert: Certificate chain of this end.
        key: Private key of this end.
        ca: Certificates that the other end is checked with.
    """

    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None


def split_address(address: str) -> tuple[str, int]:
    """Split `host:port`, with an IPv6 host in brackets.

    Raises:
        ValueError: Another form, or a port outside 0..65535.
    """
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"{address!r} is not host:port, such as 127.0.0.1:7101")
    if int(port) > _MAX_PORT:
        raise ValueError(f"port {port} is outside 0..{_MAX_PORT}")
    if ":" in host and not bracketed:
        raise ValueError(f"write the IPv6 address of {address!r} in brackets, such as [::1]:7101")
    return (host[1:-1] if bracketed else host), int(port)


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach the host; a name other than localhost cannot."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class ServiceSettings(BaseSettings):
    """What every process is told. Subclasses set `env_prefix` and the default ports."""

    model_config = SettingsConfigDict(extra="ignore", validate_default=True, frozen=True)

    listen: str = Field("127.0.0.1:0", description="gRPC address; port 0 takes any free port.")
    metrics_listen: str = Field("127.0.0.1:0", description="Prometheus address.")
    log_level: LogLevel = Field("info", description="Lowest level logged.")
    log_format: LogFormat = Field("json", description="Log lines for machines or for eyes.")
    blob_url: str = Field("var/blobs", description="Blob store: a folder or an fsspec URL.")
    max_message_bytes: int = Field(
        64 * 2**20, ge=2**20, description="Largest gRPC message taken or sent."
    )
    drain_timeout_s: float = Field(
        10.0, ge=0, description="How long running calls may go on after SIGTERM."
    )
    tls_cert: Path | None = Field(None, description="PEM certificate chain; needs tls_key.")
    tls_key: Path | None = Field(None, description="PEM private key; needs tls_cert.")
    tls_ca: Path | None = Field(
        None, description="PEM certificates that clients must show one of (mutual TLS)."
    )
    ready_file: Path | None = Field(
        None, description="Written with the bound addresses once the service answers."
    )
    die_with_parent: bool = Field(
        False, description="End when the process that started this one ends (Linux)."
    )

    @field_validator("listen", "metrics_listen")
    @classmethod
    def _address_is_host_and_port(cls, value: str) -> str:
        split_address(value)
        return value

    @model_validator(mode="after")
    def _open_addresses_need_tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both or neither")
        if self.tls_ca is not None and self.tls_cert is None:
            raise ValueError("tls_ca checks clients of a TLS server: set tls_cert and tls_key too")
        for field in ("listen", "metrics_listen"):
            host, _ = split_address(getattr(self, field))
            if not is_loopback(host) and self.tls_cert is None:
                raise ValueError(
                    f"{field} is {getattr(self, field)}, which other machines can reach, and TLS "
                    "is not configured. Set tls_cert and tls_key, or listen on 127.0.0.1"
                )
        return self

    @property
    def tls(self) -> TlsFiles | None:
        """The server's PEM files, or None for plain text."""
        if self.tls_cert is None:
            return None
        return TlsFiles(cert=self.tls_cert, key=self.tls_key, ca=self.tls_ca)


SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


def load_settings(settings_class: type[SettingsT], argv: Sequence[str] | None = None) -> SettingsT:
    """Read a service's settings from the environment and the few options every main takes.

    A wrong setting ends the process with status 2 and one line a field on stderr.

    Args:
        settings_class: The service's settings.
        argv: Command line without the program; `sys.argv` by default.
    """
    prefix = settings_class.model_config.get("env_prefix", "")
    parser = argparse.ArgumentParser(
        description=f"Configured by environment variables that start with {prefix}."
    )
    parser.add_argument("--ready-file", type=Path, help="written once the service answers")
    parser.add_argument(
        "--die-with-parent", action="store_true", help="end when the starting process ends"
    )
    options = parser.parse_args(argv)
    given: dict[str, object] = {}
    if options.ready_file is not None:
        given["ready_file"] = options.ready_file
    if options.die_with_parent:
        given["die_with_parent"] = True
    try:
        return settings_class(**given)  # type: ignore[arg-type]  # checked by pydantic
    except ValidationError as exc:
        for problem in exc.errors(include_url=False):
            field = "_".join(str(part) for part in problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            sys.stderr.write(f"{prefix}{field.upper()}: {message}\n" if field else f"{message}\n")
        raise SystemExit(2) from exc

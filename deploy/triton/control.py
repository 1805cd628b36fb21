"""Health and model control over Triton's HTTP endpoint, with the standard library alone."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any, Final

PROBE_TIMEOUT_S: Final = 5.0
LOAD_TIMEOUT_S: Final = 300.0
UNLOADED: Final = "unloaded"


class TritonControlError(RuntimeError):
    """The server refused, or did not answer; the text is the server's own (not for end users)."""


@dataclass(frozen=True, slots=True)
class VersionState:
    """One model version as the server sees it.

    Attributes:
        model: Model name.
        version: Version number.
        state: ``READY``, ``LOADING``, ``UNLOADING`` or ``UNAVAILABLE``.
        reason: Why it is not available; ``unloaded`` when nothing is wrong with it.
    """

    model: str
    version: int
    state: str
    reason: str

    @property
    def ready(self) -> bool:
        """Whether it answers requests."""
        return self.state == "READY"

    @property
    def broken(self) -> bool:
        """Whether it was refused at load, as opposed to being unloaded on purpose."""
        return self.state == "UNAVAILABLE" and self.reason not in {"", UNLOADED}


class TritonControl:
    """Talks to one server; opens a connection for every call, holds nothing, thread safe."""

    def __init__(self, http_address: str) -> None:
        """Take the ``host:port`` of the server's HTTP endpoint."""
        self._address = http_address

    def is_ready(self) -> bool:
        """Tell whether the server answers its health endpoint."""
        return self._succeeds("/v2/health/ready")

    def is_model_ready(self, model: str, version: int | None = None) -> bool:
        """Tell whether a model, or one version of it, can be asked."""
        suffix = "" if version is None else f"/versions/{version}"
        return self._succeeds(f"/v2/models/{model}{suffix}/ready")

    def metadata(self) -> dict[str, Any]:
        """Return the server's own description: ``name``, ``version``, ``extensions``.

        Raises:
            TritonControlError: it does not answer.
        """
        content: dict[str, Any] = json.loads(self._call("GET", "/v2"))
        return content

    def versions(self) -> list[VersionState]:
        """Return every model version that the server has been asked to load.

        Raises:
            TritonControlError: it does not answer.
        """
        entries = json.loads(self._call("POST", "/v2/repository/index", {}))
        return [
            VersionState(
                model=entry["name"],
                version=int(entry["version"]),
                state=entry["state"],
                reason=entry.get("reason", ""),
            )
            for entry in entries
            if "version" in entry and "state" in entry
        ]

    def load(self, model: str, config: dict[str, Any] | None = None) -> None:
        """Load what has changed in a model's folder; returns when the new versions are ready.

        Args:
            model: Model name.
            config: Configuration to use in place of the one in the repository.

        Raises:
            TritonControlError: a version does not load; those that were ready before stay ready.
        """
        body = {} if config is None else {"parameters": {"config": json.dumps(config)}}
        self._call("POST", f"/v2/repository/models/{model}/load", body, LOAD_TIMEOUT_S)

    def unload(self, model: str) -> None:
        """Unload all versions of a model; running requests finish first.

        Raises:
            TritonControlError: the server refused or does not answer.
        """
        self._call("POST", f"/v2/repository/models/{model}/unload", {}, LOAD_TIMEOUT_S)

    def _succeeds(self, path: str) -> bool:
        try:
            self._call("GET", path)
        except TritonControlError:
            return False
        return True

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        timeout_s: float = PROBE_TIMEOUT_S,
    ) -> bytes:
        """Return the body of a 200 answer.

        Raises:
            TritonControlError: any other answer, or none.
        """
        connection = http.client.HTTPConnection(self._address, timeout=timeout_s)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as exc:
            raise TritonControlError(f"no Triton server answers on {self._address}") from exc
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise TritonControlError(content.decode(errors="replace"))
        return content

"""A complete service process, started by the tests of the server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import structlog
from pydantic_settings import SettingsConfigDict

from services.platform.server import background, run_service
from services.platform.settings import ServiceSettings, load_settings
from tests.unit.services.platform.echo_service import EchoService


class DemoSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="ECHOLOOP_DEMO_")

    fail_after_s: float | None = None


def main() -> None:
    settings = load_settings(DemoSettings)
    echo = EchoService()
    echo.behave = lambda request: asyncio.sleep(float(request))

    async def work() -> None:
        if settings.fail_after_s is not None:
            await asyncio.sleep(settings.fail_after_s)
            raise RuntimeError("background work died")
        await asyncio.Event().wait()

    @asynccontextmanager
    async def demo(server: grpc.aio.Server) -> AsyncIterator[None]:
        echo.register(server)
        async with background(work()):
            yield
        structlog.get_logger().info("demo.closed")

    run_service("demo", settings, demo)


if __name__ == "__main__":
    main()

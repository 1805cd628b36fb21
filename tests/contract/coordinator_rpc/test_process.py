"""The coordinator as a process: it is killed, started again, and loses nothing."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from echoloop.v1 import annotation_pb2_grpc, coordinator_pb2, coordinator_pb2_grpc
from services.platform.channels import open_channel
from tests.contract.coordinator_rpc.conftest import Hospital
from tests.contract.coordinator_rpc.refusals import refused

pb = coordinator_pb2


@asynccontextmanager
async def process(
    hospital: Hospital, folder: Path, **settings: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, str]]]:
    """Run `python -m services.coordinator.main` against the fixture's neighbours."""
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    values = {
        "LISTEN": "127.0.0.1:0",
        "METRICS_LISTEN": "127.0.0.1:0",
        "DATABASE_URL": f"sqlite:///{folder}/process.db",
        "BLOB_URL": hospital.settings.blob_url,
        "TRAINER": hospital.settings.trainer,
        "UNCERTAINTY": hospital.settings.uncertainty,
        "READY_FILE": str(ready),
        "DIE_WITH_PARENT": "true",
        "RETRY_CAP_S": "0.2",
        **settings,
    }
    environment = {f"ECHOLOOP_COORDINATOR_{key}": value for key, value in values.items()}
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.coordinator.main"),
        env={**os.environ, "PYTHONPATH": ".:protos", **environment},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            while not ready.exists() and started.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        yield started, json.loads(ready.read_text()) if ready.exists() else {}
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def test_a_killed_process_carries_on_where_it_was(hospital: Hospital, tmp_path: Path) -> None:
    hospital.trainer.step_s = hospital.uncertainty.frame_s = 0.05
    lives = 0
    state = pb.CAMPAIGN_STATE_DRAFT
    while state != pb.CAMPAIGN_STATE_COMPLETED:
        lives += 1
        async with (
            process(hospital, tmp_path) as (started, addresses),
            open_channel(addresses["listen"]) as channel,
        ):
            other = Hospital(
                **{
                    **vars(hospital),
                    "coordinator": coordinator_pb2_grpc.CoordinatorServiceStub(channel),
                    "annotation": annotation_pb2_grpc.AnnotationServiceStub(channel),
                }
            )
            if lives == 1:
                await other.import_study()
                # Short: what a reader was given just before a kill must come back.
                await other.create(lease_s=3)
                await other.coordinator.StartCampaign(pb.StartCampaignRequest(campaign="lv"))
            reading = asyncio.create_task(other.label_all())
            try:
                state = (await asyncio.wait_for(asyncio.shield(reading), 0.6 + 0.6 * lives)).state
            except TimeoutError:
                started.send_signal(signal.SIGKILL)
                await started.wait()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            if state == pb.CAMPAIGN_STATE_COMPLETED:
                campaign = await other.coordinator.GetCampaign(pb.GetCampaignRequest(campaign="lv"))
                assert campaign.campaign.labeled == 7
                verified = await other.coordinator.VerifySelection(
                    pb.VerifySelectionRequest(campaign="lv")
                )
                assert verified.verified
                labeled = await other.coordinator.ListPoolFrames(
                    pb.ListPoolFramesRequest(campaign="lv", pool=pb.POOL_LABELED)
                )
                assert len({frame.frame_id for frame in labeled.frames}) == 7
    assert lives > 1
    assert len(hospital.trainer.jobs) == 6


async def test_sigterm_drains_an_open_watch_and_ends_cleanly(
    hospital: Hospital, tmp_path: Path
) -> None:
    async with (
        process(hospital, tmp_path) as (started, addresses),
        open_channel(addresses["listen"]) as channel,
    ):
        other = Hospital(
            **{
                **vars(hospital),
                "coordinator": coordinator_pb2_grpc.CoordinatorServiceStub(channel),
            }
        )
        await other.import_study()
        await other.create()
        call = other.coordinator.WatchCampaign(pb.WatchCampaignRequest(campaign="lv"))
        await call.read()
        started.terminate()

        async def rest() -> None:
            async for _ in call:
                pass

        assert (await refused(rest()))[0] is grpc.StatusCode.UNAVAILABLE
        assert await asyncio.wait_for(started.wait(), 20) == 0


async def test_a_wrong_database_url_ends_the_process_with_status_1(
    hospital: Hospital, tmp_path: Path
) -> None:
    async with process(hospital, tmp_path, DATABASE_URL="sqlite://") as (started, _):
        assert await asyncio.wait_for(started.wait(), 30) == 1

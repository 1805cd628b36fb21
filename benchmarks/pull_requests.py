"""Pulls of 50 annotation requests, and list pages, on SQLite with 100,000 frames.

Run with `python -m benchmarks.pull_requests`; writes `benchmarks/out/pull_requests.json` and exits
with 1 when a claim does not hold.

How the numbers are taken: a new SQLite file and a folder of blobs in a temporary folder (TMPDIR
chooses the disk). 100,000 frames of 25,000 patients are imported in batches of 500; a campaign
takes all of them, scores 98,960 and opens one query batch of 24,000. Every request has a proposed
mask (480 x 640) and an uncertainty map (256 x 256), of which `--distinct` pairs are really
different files. Then one client pulls 50 requests at a time: the time of a pull is that of the
store call plus reading its 100 blobs one after the other, with their hashes checked. After every
pull 5 of its requests are submitted, each in a transaction that waits for the disk, so that the
file keeps changing. Pages are read in the order of the list, 100 and 1,000 items long. For scale,
two bare operations are timed between the pulls, through `sqlite3`: a SELECT of 50 rows by primary
key, and (in a file of its own) the commit of one row with synchronous=FULL, which shows what the
disk makes a submit wait. At last the coordinator's own process is started on the same file, and the
same pulls and pages are timed as a client sees them, over gRPC on loopback, after ten pulls to warm
up. `cpu_ms` is computing alone, in the calling process; on a busy machine the rest is waiting.
"""

import argparse
import gc
import itertools
import json
import sqlite3
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from benchmarks.results import machine, write_result
from benchmarks.service_process import service_process
from clients.client import Addresses, EchoLoopClient
from clients.connection import Connection, Patience
from echoloop.v1 import annotation_pb2, coordinator_pb2
from services.coordinator.adapters.sql import open_stores, upgrade_to_head
from services.coordinator.domain.acquisition import FrameScores, Scores
from services.coordinator.domain.campaign import Campaign, CampaignConfig
from services.coordinator.domain.frames import NewFrame, Pool, Split
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.ports import PageRequest, Stores
from services.coordinator.domain.querying import choose_batch, verify_batch
from services.coordinator.domain.selection import Proposal
from services.platform.blobs import BlobStore

FRAMES = 100_000
TEST_FRAMES = 1_000
INITIAL_LABELS = 40
QUERY_SIZE = 24_000
PULL_SIZE = 50
SUBMITS_PER_PULL = 5
WARM_UP_PULLS = 10
IMPORT_BATCH = 500
SCORE_BATCH = 500
PULL_LIMIT_MS = 20.0
PAGE_LIMIT_MS = 50.0


@dataclass(frozen=True)
class Latency:
    """Milliseconds of `count` calls; `cpu_ms` is the mean that the calling thread computed."""

    count: int
    cpu_ms: float
    p50_ms: float
    p99_ms: float
    max_ms: float


class Stopwatch:
    """Times blocks: `with watch:`."""

    def __init__(self) -> None:
        self._wall: list[float] = []
        self._cpu = 0.0

    def __enter__(self) -> None:
        self._cpu -= time.thread_time()
        self._begin = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._wall.append(time.perf_counter() - self._begin)
        self._cpu += time.thread_time()

    @property
    def total_s(self) -> float:
        """Seconds of all blocks."""
        return sum(self._wall)

    def latency(self) -> Latency:
        """Summarize the blocks."""
        ms = np.array(self._wall) * 1000
        p50, p99 = np.percentile(ms, [50, 99])
        return Latency(
            count=len(ms),
            cpu_ms=round(self._cpu / len(ms) * 1000, 3),
            p50_ms=round(float(p50), 3),
            p99_ms=round(float(p99), 3),
            max_ms=round(float(ms.max()), 3),
        )


def main() -> int:
    """Run, print, write the JSON; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pulls", type=int, default=220, help="pulls of 50 to time, twice")
    parser.add_argument("--distinct", type=int, default=1000, help="different proposals on disk")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="echoloop-bench-") as folder:
        report = run(Path(folder), pulls=arguments.pulls, distinct=arguments.distinct)
    write_result("pull_requests", report)
    print(json.dumps(report, indent=2))
    return 0 if report["passed"] else 1


def run(folder: Path, *, pulls: int, distinct: int) -> dict[str, object]:
    """Build the database, measure, and return the report."""
    path = folder / "coordinator.db"
    url = f"sqlite:///{path}"
    upgrade_to_head(url)
    stores = open_stores(url, clock=lambda: datetime.now(UTC), new_id=lambda: uuid.uuid4().hex)
    blobs = BlobStore(str(folder / "blobs"))
    steps: dict[str, Stopwatch] = defaultdict(Stopwatch)
    with steps["import"]:
        import_frames(stores)
    with steps["start"]:
        campaign = open_campaign(stores)
    with steps["score"]:
        score(stores, campaign)
    with steps["select"]:
        select(stores, campaign)
    with steps["proposals"]:
        propose(stores, blobs, campaign, distinct)
    move(stores, campaign, PhaseState.ANNOTATING)
    with steps["verify_selection"]:
        assert verify_batch(stores, campaign.id, 1).verified

    gc.collect()
    gc.freeze()  # as every service does when it starts
    pulled = measure_pulls(stores, blobs, path, campaign, pulls)
    pages = measure_pages(stores, campaign)
    stores.handle.close()
    called = measure_calls(url, str(folder / "blobs"), campaign, pulls)
    pages |= {name: latency for name, latency in called.items() if "page" in name}
    passed = all(
        latency.p99_ms < PULL_LIMIT_MS
        for latency in (pulled["pull_50_with_proposals"], called["rpc_pull_50"])
    ) and all(latency.p99_ms < PAGE_LIMIT_MS for latency in pages.values())
    bare = pulled["bare_select_50"].p50_ms
    return {
        "passed": passed,
        "limits": {"pull_p99_ms": PULL_LIMIT_MS, "page_p99_ms": PAGE_LIMIT_MS},
        "frames": FRAMES,
        "open_requests": QUERY_SIZE,
        "database_mib": round(path.stat().st_size / 2**20, 1),
        "ratio_pull_to_bare_select_p50": round(pulled["pull_50_with_proposals"].p50_ms / bare, 1),
        "ratio_store_call_to_bare_select_p50": round(pulled["store_call"].p50_ms / bare, 1),
        "latency": {name: asdict(value) for name, value in {**pulled, **pages, **called}.items()},
        "seconds": {name: round(step.total_s, 2) for name, step in steps.items()},
        "sqlite": sqlite3.sqlite_version,
        "machine": machine(),
    }


def import_frames(stores: Stores) -> None:
    """Import all frames; the first ones of the train side come with a mask."""
    stores.datasets.ensure("bench", test_fraction=0.0, seed=1)
    for first in range(0, FRAMES, IMPORT_BATCH):
        stores.datasets.import_frames(
            "bench", [new_frame(n) for n in range(first, first + IMPORT_BATCH)]
        )


def new_frame(number: int) -> NewFrame:
    """Return a frame whose blobs are never read."""
    test = number >= FRAMES - TEST_FRAMES
    sha256 = f"{number:064x}"
    masked = test or number < INITIAL_LABELS
    return NewFrame(
        name=f"study-{number // 20:05d}/frame-{number:06d}",
        sha256=sha256,
        image_ref=f"frames/{sha256[:2]}/{sha256}.png",
        mask_ref=f"masks/{sha256[:2]}/{sha256}.png" if masked else None,
        height=480,
        width=640,
        patient_id=f"patient-{number // 4:05d}",
        clip_id=f"clip-{number // 20:05d}",
        frame_index=number % 20,
        view="4CH",
        cardiac_phase="ED",
        split=Split.TEST if test else Split.TRAIN,
        spacing_mm=(0.3, 0.3),
    )


def open_campaign(stores: Stores) -> Campaign:
    """Start a campaign and bring it to SCORING of phase 1."""
    config = CampaignConfig(
        "bench", query_size=QUERY_SIZE, initial_labels=INITIAL_LABELS, lease_s=3600
    )
    campaign = stores.campaigns.create("bench", config)
    stores.campaigns.start("bench")
    select(stores, campaign)
    move(stores, campaign, PhaseState.COMPLETE)
    stores.phases.begin(campaign.id, 1)
    move(stores, campaign, PhaseState.EVALUATING)
    move(stores, campaign, PhaseState.SCORING)
    return campaign


def move(stores: Stores, campaign: Campaign, to_state: PhaseState) -> None:
    """Advance the current phase."""
    number = stores.campaigns.get(campaign.id).phase
    phase = stores.phases.get(campaign.id, number)
    stores.phases.advance(campaign.id, number, to_state, revision=phase.revision)


def score(stores: Stores, campaign: Campaign) -> None:
    """Give every unlabeled frame scores, as the driver does: page by page."""
    random = np.random.default_rng(0)
    after = ""
    while frames := stores.scores.unscored(campaign.id, 1, after=after, limit=SCORE_BATCH):
        after = frames[-1].frame_id
        stores.scores.put(
            campaign.id,
            1,
            [
                FrameScores(
                    frame.frame_id, scores=Scores(mfe=mfe, cfe=cfe, mi=mi, std=std, pixels=65_536)
                )
                for frame, (mfe, cfe, mi, std) in zip(
                    frames, random.gamma(2.0, 1000.0, (len(frames), 4)).tolist(), strict=True
                )
            ],
        )
    move(stores, campaign, PhaseState.SELECTING)


def select(stores: Stores, campaign: Campaign) -> None:
    """Choose and store the batch of the current phase."""
    now = stores.campaigns.get(campaign.id)
    phase = stores.phases.get(campaign.id, now.phase)
    batch = choose_batch(stores, now, phase, model_digest="d" * 64)
    stores.queries.save(campaign.id, phase.number, batch)


def propose(stores: Stores, blobs: BlobStore, campaign: Campaign, distinct: int) -> None:
    """Attach proposals; `distinct` different ones in turn."""
    pairs = itertools.cycle([proposal_blobs(blobs, seed) for seed in range(distinct)])
    frames = stores.queries.without_proposal(campaign.id, 1)
    for first in range(0, len(frames), SCORE_BATCH):
        part = frames[first : first + SCORE_BATCH]
        stores.queries.set_proposals(
            campaign.id, 1, [Proposal(frame.frame_id, *next(pairs)) for frame in part]
        )


def proposal_blobs(blobs: BlobStore, seed: int) -> tuple[str, str]:
    """Store an elliptic mask and a map that is bright along its border, as real ones are."""
    random = np.random.default_rng(seed)
    x, y = random.uniform(0.4, 0.6, 2)
    a, b = random.uniform(0.1, 0.3, 2)
    mask = np.zeros((480, 640), np.uint8)
    center = (int(x * 640), int(y * 480))
    cv2.ellipse(mask, center, (int(a * 480), int(b * 480)), 0, 0, 360, 255, -1)
    edge = cv2.morphologyEx(cv2.resize(mask, (256, 256)), cv2.MORPH_GRADIENT, np.ones((9, 9)))
    spread = cv2.GaussianBlur(edge, (0, 0), 5).astype(np.float64)
    noise = random.normal(0, 2, spread.shape) * (spread > 1)
    uncertainty = np.clip(spread + noise, 0, 255).astype(np.uint8)
    refs = [
        blobs.put(kind, cv2.imencode(".png", image)[1].tobytes(), ".png")
        for kind, image in (("proposals", mask), ("maps", uncertainty))
    ]
    return refs[0], refs[1]


def measure_pulls(
    stores: Stores, blobs: BlobStore, path: Path, campaign: Campaign, count: int
) -> dict[str, Latency]:
    """Pull, read the proposals, submit some; time each part."""
    whole, call, reading, submit, bare, commit = (Stopwatch() for _ in range(6))
    connection = sqlite3.connect(path)
    scratch = sqlite3.connect(path.with_name("scratch.db"), isolation_level=None)
    scratch.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (n INTEGER)"
    )
    for number in range(count):
        with whole:
            with call:
                requests = stores.annotations.pull(
                    campaign.name, "reader", PULL_SIZE, request_id=f"pull-{number}"
                )
            with reading:
                for request in requests:
                    blobs.get(request.proposal_ref)
                    blobs.get(request.uncertainty_ref)
        assert len(requests) == PULL_SIZE

        for request in requests[:SUBMITS_PER_PULL]:
            assert request.lease is not None
            with submit:
                stores.annotations.submit(
                    request.id,
                    "reader",
                    request.lease.token,
                    mask_ref=request.proposal_ref,
                    lv_absent=False,
                    request_id=f"submit-{request.id}",
                )

        ids = [request.id for request in requests]
        marks = ",".join("?" * len(ids))
        with bare:
            rows = connection.execute(
                f"SELECT * FROM requests WHERE id IN ({marks})", ids
            ).fetchall()
        assert len(rows) == PULL_SIZE
        with commit:
            scratch.execute("INSERT INTO t VALUES (?)", (number,))
    connection.close()
    scratch.close()
    return {
        "pull_50_with_proposals": whole.latency(),
        "store_call": call.latency(),
        "read_100_blobs": reading.latency(),
        "submit": submit.latency(),
        "bare_select_50": bare.latency(),
        "bare_durable_commit": commit.latency(),
    }


def measure_pages(stores: Stores, campaign: Campaign) -> dict[str, Latency]:
    """Page through the long lists, with the default and with the largest page."""
    lists: dict[str, Callable[[PageRequest], str]] = {
        "pool_frames": lambda page: (
            stores.campaigns.pool_frames(campaign.id, Pool.UNLABELED, page).next_token
        ),
        "scores": lambda page: stores.scores.list(campaign.id, 1, page).next_token,
        "requests": lambda page: stores.annotations.list(campaign.id, None, page).next_token,
    }
    return {
        f"{name}_page_{size}": page_latency(read, size)
        for name, read in lists.items()
        for size in (100, 1000)
    }


def measure_calls(url: str, blobs: str, campaign: Campaign, count: int) -> dict[str, Latency]:
    """Pull and page through the coordinator's process, one call after the other."""
    pull, frames, requests = Stopwatch(), Stopwatch(), Stopwatch()
    settings = {"DATABASE_URL": url, "BLOB_URL": blobs}
    with (
        service_process("services.coordinator.main", settings) as address,
        EchoLoopClient(Addresses(coordinator=address)) as client,
    ):
        for _ in range(WARM_UP_PULLS):  # connects, starts threads, fills SQLite's page cache
            client.annotation.pull("rpc-reader", PULL_SIZE, campaign=campaign.name)
        for _ in range(count):
            with pull:
                pulled = client.annotation.pull("rpc-reader", PULL_SIZE, campaign=campaign.name)
            assert len(pulled) == PULL_SIZE
            assert all(request.proposal.uncertainty_png for request in pulled)
        with closing(Connection(address, "coordinator", Patience())) as connection:
            token, page = "", ""
            for _ in range(count):
                with frames:
                    listed = connection.call(
                        "echoloop.v1.CoordinatorService/ListPoolFrames",
                        coordinator_pb2.ListPoolFramesRequest(
                            campaign=campaign.id,
                            pool=coordinator_pb2.POOL_UNLABELED,
                            page_token=token,
                        ),
                        coordinator_pb2.ListPoolFramesResponse,
                    )
                token = listed.next_page_token
                with requests:
                    answered = connection.call(
                        "echoloop.v1.AnnotationService/ListRequests",
                        annotation_pb2.ListRequestsRequest(campaign=campaign.id, page_token=page),
                        annotation_pb2.ListRequestsResponse,
                    )
                page = answered.next_page_token
    return {
        "rpc_pull_50": pull.latency(),
        "rpc_pool_frames_page_100": frames.latency(),
        "rpc_requests_page_100": requests.latency(),
    }


def page_latency(read: Callable[[PageRequest], str], size: int) -> Latency:
    """Read a list to its end, or 200 pages of it."""
    watch = Stopwatch()
    token = ""
    for _ in range(200):
        with watch:
            token = read(PageRequest(size, token))
        if not token:
            break
    return watch.latency()


if __name__ == "__main__":
    sys.exit(main())

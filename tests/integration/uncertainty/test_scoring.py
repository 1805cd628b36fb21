"""Scoring on a real Triton."""

import numpy as np
import pytest

from deploy.triton.process import TritonServer
from services.platform.blobs import BlobStore
from services.platform.errors import UnavailableError
from services.platform.images import decode_gray, encode_gray_png
from services.platform.masks import decode_mask
from tests.integration.small_models import POOLED_SIDE, wait_for_versions
from tests.integration.uncertainty.scoring_service import score, service

pytestmark = pytest.mark.integration


def store_frames(blobs: BlobStore, count: int) -> list[str]:
    rng = np.random.default_rng(7)
    return [
        blobs.put(
            "frames",
            encode_gray_png(rng.integers(0, 200, (80 + index, 120), np.uint8)),
            ".png",
        )
        for index in range(count)
    ]


async def test_scores_are_the_same_whatever_the_batch(triton: TritonServer, blob_url: str) -> None:
    refs = store_frames(BlobStore(blob_url), 21)
    async with service(triton.grpc_address, blob_url) as stub:
        together = await score(stub, refs)
        backwards = await score(stub, refs[::-1])
        other_seed = await score(stub, refs, seed=6)
        other_version = await score(stub, refs, version=2)
    async with service(triton.grpc_address, blob_url, batch_size=1) as stub:
        alone = await score(stub, refs)
    for ref in refs:
        expected = together[ref].scored.scores
        assert expected.pixels == POOLED_SIDE**2
        assert expected.mfe >= expected.cfe > 0
        assert backwards[ref].scored.scores == expected
        assert alone[ref].scored.scores == expected
        assert other_seed[ref].scored.scores.mfe != expected.mfe
        assert other_version[ref].scored.scores.mfe != expected.mfe


async def test_what_is_wrong_with_a_frame_costs_no_other_frame(
    triton: TritonServer, blob_url: str
) -> None:
    blobs = BlobStore(blob_url)
    refs = store_frames(blobs, 10)
    white = blobs.put("frames", encode_gray_png(np.full((50, 50), 255, np.uint8)), ".png")
    broken = blobs.put("frames", b"no image at all", ".png")
    async with service(triton.grpc_address, blob_url) as stub:
        responses = await score(stub, [*refs[:5], white, broken, *refs[5:]])
    assert responses[white].failure.reason == "NON_FINITE_SCORES"
    assert responses[broken].failure.reason == "IMAGE"
    assert all(responses[ref].HasField("scored") for ref in refs)


async def test_proposals_have_the_size_of_the_frame_and_maps_that_of_the_network(
    triton: TritonServer, blob_url: str
) -> None:
    blobs = BlobStore(blob_url)
    refs = store_frames(blobs, 3)
    async with service(triton.grpc_address, blob_url) as stub:
        responses = await score(stub, refs, proposals=True)
    for index, ref in enumerate(refs):
        scored = responses[ref].scored
        decode_mask(blobs.get(scored.proposal_ref), 80 + index, 120)
        assert decode_gray(blobs.get(scored.uncertainty_ref)).shape == (256, 256)
        assert list(scored.embedding.shape) == [16]


async def test_a_version_that_triton_does_not_hold_is_unavailable(
    triton: TritonServer, blob_url: str
) -> None:
    refs = store_frames(BlobStore(blob_url), 2)
    async with service(triton.grpc_address, blob_url) as stub:
        with pytest.raises(UnavailableError, match="version 77") as caught:
            await score(stub, refs, version=77)
        assert caught.value.reason == "VERSION_NOT_LOADED"
        assert len(await score(stub, refs)) == 2


async def test_a_killed_triton_is_unavailable_and_a_restarted_one_scores_the_rest(
    tmp_path_factory: pytest.TempPathFactory, triton: TritonServer, blob_url: str
) -> None:
    refs = store_frames(BlobStore(blob_url), 6)
    own = TritonServer(
        triton.model_repository, log_path=tmp_path_factory.mktemp("own") / "triton.log"
    )
    try:
        own.start()
        wait_for_versions(own, "lv_uncertainty", 1)
        async with service(own.grpc_address, blob_url) as stub:
            before = await score(stub, refs)
            own.kill()
            with pytest.raises(UnavailableError):
                await score(stub, refs)
            own.start()
            wait_for_versions(own, "lv_uncertainty", 1)
            after = await score(stub, refs)
    finally:
        own.kill()
    for ref in refs:
        assert after[ref].scored.scores == before[ref].scored.scores

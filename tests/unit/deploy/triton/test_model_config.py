from __future__ import annotations

from pathlib import Path

import pytest
from tritonclient.grpc import model_config_pb2

from deploy.triton.model_config import (
    LV_SEGMENTER,
    LV_UNCERTAINTY,
    MODELS,
    SKELETON,
    ModelSpec,
    from_pbtxt,
    main,
    to_pbtxt,
    to_proto,
)


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_the_committed_configuration_is_the_generated_one(spec: ModelSpec) -> None:
    assert (SKELETON / spec.name / "config.pbtxt").read_text() == to_pbtxt(spec)


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_the_committed_configuration_parses_back(spec: ModelSpec) -> None:
    assert from_pbtxt((SKELETON / spec.name / "config.pbtxt").read_text()) == to_proto(spec)


def test_the_skeleton_holds_the_contract_and_nothing_else() -> None:
    assert {path.parent.name for path in SKELETON.glob("*/config.pbtxt")} == {
        spec.name for spec in MODELS
    }


def test_segmenter_contract_is_the_documented_one() -> None:
    config = to_proto(LV_SEGMENTER)
    assert tensors(config.input) == {"image": ("TYPE_UINT8", [1, 256, 256])}
    assert tensors(config.output) == {
        "probability": ("TYPE_FP32", [1, 256, 256]),
        "probability_u8": ("TYPE_UINT8", [1, 256, 256]),
    }


def test_uncertainty_contract_is_the_documented_one() -> None:
    config = to_proto(LV_UNCERTAINTY)
    assert tensors(config.input) == {
        "image": ("TYPE_UINT8", [1, 256, 256]),
        "seed": ("TYPE_INT64", [1]),
    }
    assert tensors(config.output) == {
        "scores": ("TYPE_FP32", [4]),
        "embedding": ("TYPE_FP32", [-1]),
        "mean_probability": ("TYPE_FP32", [1, 256, 256]),
        "std_map": ("TYPE_FP32", [1, 256, 256]),
        "pixels": ("TYPE_INT64", [1]),
    }


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_every_present_version_is_served_in_batches_by_the_onnxruntime_backend(
    spec: ModelSpec,
) -> None:
    config = to_proto(spec)
    assert config.backend == "onnxruntime"
    assert config.platform == ""
    assert config.max_batch_size == 8
    assert config.version_policy.WhichOneof("policy_choice") == "all"


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_the_batcher_has_no_queue_policy_and_no_delay(spec: ModelSpec) -> None:
    # With one instance, either makes Triton 2.51 hold single requests back for 500 ms.
    config = to_proto(spec)
    assert config.HasField("dynamic_batching")
    assert config.dynamic_batching == model_config_pb2.ModelDynamicBatching()
    assert [group.count for group in config.instance_group] == [1]


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_a_version_is_warmed_up_with_all_its_inputs(spec: ModelSpec) -> None:
    (warmup,) = to_proto(spec).model_warmup
    assert {name: list(entry.dims) for name, entry in warmup.inputs.items()} == {
        tensor.name: list(tensor.dims) for tensor in spec.inputs
    }


def test_the_command_writes_the_skeleton(tmp_path: Path) -> None:
    assert main(["--dir", str(tmp_path)]) == 0
    for spec in MODELS:
        assert (tmp_path / spec.name / "config.pbtxt").read_text() == to_pbtxt(spec)


def tensors(entries: object) -> dict[str, tuple[str, list[int]]]:
    return {
        entry.name: (model_config_pb2.DataType.Name(entry.data_type), list(entry.dims))
        for entry in entries  # type: ignore[attr-defined]
    }

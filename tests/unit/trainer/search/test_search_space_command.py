import json
import subprocess
import sys
from typing import Any

import pytest


def run(*arguments: str, text: str = "") -> tuple[int, dict[str, Any]]:
    process = subprocess.run(
        [sys.executable, "-m", "trainer.adapters.search_space_command", *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode, json.loads(process.stdout)


def test_it_prints_the_documents_space() -> None:
    status, summary = run("space")
    assert status == 0
    assert summary["configurations"] == 7452


def test_it_reads_a_space() -> None:
    status, summary = run("space", text="pairs: [PAN+tu-regnety_120]")
    assert (status, summary["valid_configurations"]) == (0, 18)


@pytest.mark.parametrize(
    ("decoder", "encoder", "parameters"),
    [("PAN", "tu-regnety_120", 50_290_512), ("DeepLabV3", "dpn98", 79_758_785)],
)
def test_it_describes_a_network(decoder: str, encoder: str, parameters: int) -> None:
    status, description = run("describe", decoder, encoder)
    assert status == 0
    assert description["parameters"] == parameters
    assert description["onnx_export"] is True
    assert description["head_dropout"] is True
    assert description["decoder_dropout"] is True
    assert description["evidence"]["segmenter"]["kind"] == "measured"
    assert description["evidence"]["segmenter"]["max_difference"] < 1e-4


@pytest.mark.parametrize(
    ("arguments", "text", "reason"),
    [
        (["space"], "encoders: [resnet]\nmax_parameters: 1", "EMPTY_SEARCH_SPACE"),
        (["describe", "PAN", "resnet19"], "", "UNKNOWN_ARCHITECTURE"),
        (["describe", "PAN", "vgg16_bn"], "", "INCOMPATIBLE_ARCHITECTURE"),
        (["search"], "", "INVALID_INPUT"),
    ],
)
def test_a_refusal_is_json_with_its_reason(arguments: list[str], text: str, reason: str) -> None:
    status, answer = run(*arguments, text=text)
    assert status == 2
    assert answer["error"]["reason"] == reason


def test_it_answers_without_torch() -> None:
    program = "import sys, trainer.adapters.search_space_command; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

"""From an imported data set to a campaign on the searched model, through kills on the way."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

TRIALS = 4
SPACE = (
    "--encoders", "resnet18,tu-regnety_002", "--decoders", "Linknet,FPN",
    "--learning-rates", "1e-3", "--batch-sizes", "4", "--image-size", "64",
)  # fmt: skip


def test_two_commands_lead_from_a_data_set_to_a_campaign_on_the_searched_model(
    tmp_path: Path, tiny_study: Path
) -> None:
    cli = Cli(tmp_path / "var")
    with cli.stack():
        cli.ok("import", str(tiny_study), "--dataset", "d", "--labels", "all")
        started = cli.ok(
            "search", "start", "--dataset", "d", *SPACE, "--trials", str(TRIALS),
            "--epochs", "3", "--max-latency-ms", "5000", "--seed", "1",
        )  # fmt: skip
        job = started["id"]
        _kill_trainer_and_trial(cli, random.Random(7))
        with cli.start("search", "watch", job, "--json") as watch:
            _out, err = watch.communicate(timeout=900)
        assert watch.returncode == 0, err

        trials = cli.ok("search", "trials", job)["trials"]
        assert sorted(trial["number"] for trial in trials) == list(range(TRIALS))
        tried = {
            (trial["architecture"]["decoder"], trial["architecture"]["encoder"]) for trial in trials
        }
        assert len(tried) == TRIALS
        for trial in trials:
            assert [epoch["epoch"] for epoch in trial["epochs"]] == list(
                range(1, len(trial["epochs"]) + 1)
            )
            assert trial["latency_ms"] > 0  # measured in Triton, before it was trained
        complete = [trial for trial in trials if trial["state"] == "COMPLETE"]
        assert complete
        assert all("test_iou" in trial for trial in complete)

        page = tmp_path / "search.html"
        cli.ok("search", "report", job, "--out", str(page))
        assert page.stat().st_size > 20_000

        campaign = cli.ok(
            "campaign", "create", "c", "--dataset", "d", "--preset", "demo", "--epochs", "2",
            "--initial-labels", "6", "--query-size", "3", "--label-budget", "9",
            "--target-iou", "0.99", "--from-search", "latest", "--start",
        )  # fmt: skip
        best = max(complete, key=lambda trial: trial["iou"])
        config = campaign["config"]
        assert config["search"] == job
        assert config["segmenter"]["encoder"] == best["architecture"]["encoder"]
        assert config["segmenter"]["decoder"] == best["architecture"]["decoder"]
        assert config["segmenter_hyperparameters"]["image_size"] == 64
        done = cli.run("oracle", "--masks", str(tiny_study), "--campaign", "c", timeout_s=800)
        assert done.status == 0, done.err
        wait_for(lambda: cli.ok("campaign", "show", "c")["state"] == "COMPLETED", 300, every_s=1)


def _kill_trainer_and_trial(cli: Cli, chance: random.Random) -> None:
    """Kill -9 a trial's process, the trainer, and a trial again, each at a random moment."""
    for victim in ("worker", "trainer", "worker"):
        wait_for(lambda name=victim: cli.pid(name), 120)  # type: ignore[misc]
        time.sleep(chance.uniform(0.2, 3.0))
        if pid := cli.pid(victim):
            os.kill(pid, signal.SIGKILL)

"""Kill -9 of every process at random moments of a campaign: nothing is lost or done twice."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

SEED = 20
NAMES = ("triton", "trainer", "uncertainty", "coordinator", "gateway")
BUDGET = 15


def test_a_campaign_survives_kill_9_of_every_process(tmp_path: Path, tiny_study: Path) -> None:
    cli = Cli(tmp_path / "var")
    with cli.stack():
        cli.ok("import", str(tiny_study), "--dataset", "d")
        cli.ok(
            "campaign", "create", "c", "--dataset", "d", "--preset", "demo", "--epochs", "2",
            "--initial-labels", "6", "--query-size", "3", "--label-budget", str(BUDGET),
            "--target-iou", "0.99", "--seed", "3", "--lease-s", "20", "--start",
            "--acquisition", "auto", "--strategy", "coverage", "--cold-start", "typical",
        )  # fmt: skip
        masks = ("--masks", str(tiny_study))
        with cli.start("oracle", *masks, "--campaign", "c", "--delay", "0.2", "--json") as reader:
            killed = _kill_at_random(cli, random.Random(SEED))
            _out, err = reader.communicate(timeout=800)
        assert reader.returncode == 0, err
        assert set(killed) == {*NAMES, "tritonserver", "worker"}, killed

        campaign = cli.ok("campaign", "show", "c")
        assert campaign["state"] == "COMPLETED"
        assert campaign["stop_reason"] == "BUDGET_EXHAUSTED"
        assert campaign["labeled"] == BUDGET
        assert [phase["labeled"] for phase in campaign["phases"] if phase["number"]] == [
            6, 9, 12, 15,
        ]  # fmt: skip
        requests = cli.ok("annotate", "list", "c")["requests"]
        assert Counter(request["state"] for request in requests) == {"ACCEPTED": BUDGET}
        assert len({request["frame_id"] for request in requests}) == BUDGET
        assert cli.ok("campaign", "verify", "c")["verified"] is True
        # The gateway serves whatever was killed before.
        frame = next((tiny_study / "images").iterdir())
        wait_for(lambda: cli.run("segment", str(frame), "--out", str(tmp_path)).status == 0, 30)


def _kill_at_random(cli: Cli, chance: random.Random) -> Counter[str]:
    """Kill each process twice in a random order, with random pauses, while the campaign runs."""
    killed: Counter[str] = Counter()
    victims = [*NAMES, "tritonserver", "worker"] * 2
    chance.shuffle(victims)
    for name in victims:
        time.sleep(chance.uniform(0.5, 4.0))
        try:
            wait_for(lambda victim=name: cli.pid(victim) or _completed(cli), 60)  # type: ignore[misc]
        except AssertionError:
            continue
        if pid := cli.pid(name):
            os.kill(pid, signal.SIGKILL)
            killed[name] += 1
    return killed


def _completed(cli: Cli) -> bool:
    done = cli.run("campaign", "show", "c", "--json")
    return done.status == 0 and done.value["state"] == "COMPLETED"

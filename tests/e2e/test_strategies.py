"""A campaign that uses every query strategy's machinery on the real stack, and derives it again."""

from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


def test_batches_by_typical_start_auto_coverage_and_limits(
    tmp_path: Path, tiny_study: Path
) -> None:
    cli = Cli(tmp_path / "var")
    with cli.stack():
        cli.ok("import", str(tiny_study), "--dataset", "d")
        cli.ok(
            "campaign", "create", "c", "--dataset", "d", "--preset", "demo", "--epochs", "2",
            "--initial-labels", "6", "--query-size", "4", "--label-budget", "14",
            "--target-iou", "0.99", "--acquisition", "auto", "--strategy", "coverage",
            "--shortlist", "3", "--cold-start", "typical", "--max-per-patient", "1", "--start",
        )  # fmt: skip
        done = cli.run("oracle", "--masks", str(tiny_study), "--campaign", "c", timeout_s=1200)
        assert done.status == 0, done.err
        wait_for(lambda: cli.ok("campaign", "show", "c")["state"] == "COMPLETED", 300, every_s=1)

        phases = cli.ok("campaign", "show", "c")["phases"]
        assert [phase["labeled"] for phase in phases[1:]] == [6, 10, 14]
        first, second = (phase["acquisition"] for phase in phases[1:3])
        assert first != second
        assert {first, second} < {"MFE", "CFE", "MI", "STD"}
        assert [arm["plays"] for arm in phases[2]["arms"] if arm["function"] == first] == [1]

        checks = cli.ok("campaign", "verify", "c")["checks"]
        assert [check["verified"] for check in checks] == [True, True, True]
        assert [check["strategy"] for check in checks[1:]] == ["COVERAGE", "COVERAGE"]
        assert [check["selected"] for check in checks] == [6, 4, 4]

        frames = cli.ok("annotate", "list", "c")["requests"]
        assert len({frame["frame_id"] for frame in frames}) == 14
        for phase in range(3):
            # The study names its frames after patients.
            patients = Counter(
                frame["frame_name"].split("_")[0] for frame in frames if frame["phase"] == phase
            )
            assert set(patients.values()) == {1}, patients

"""A campaign with a control arm on the real stack: trained, measured in Triton, withdrawn, told."""

from pathlib import Path

import pytest

from tests.e2e.conftest import Cli, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


def test_label_savings_are_measured_beside_the_campaign(tmp_path: Path, tiny_study: Path) -> None:
    cli = Cli(tmp_path / "var")
    with cli.stack():
        cli.ok("import", str(tiny_study), "--dataset", "d")
        cli.ok(
            "campaign", "create", "c", "--dataset", "d", "--preset", "demo", "--epochs", "2",
            "--initial-labels", "6", "--query-size", "4", "--label-budget", "14",
            "--target-iou", "0.99", "--control-share", "0.5", "--start",
        )  # fmt: skip
        done = cli.run("oracle", "--masks", str(tiny_study), "--campaign", "c", timeout_s=1200)
        assert done.status == 0, done.err
        wait_for(lambda: cli.ok("campaign", "show", "c")["state"] == "COMPLETED", 300, every_s=1)

        told = cli.ok("campaign", "forecast", "c")
        assert [point["labels"] for point in told["active"]] == [6, 10, 14]
        assert [point["labels"] for point in told["control"]] == [6, 8, 10]
        assert told["control"][0]["iou"] == told["active"][0]["iou"]
        assert all(0 < point["iou"] < 1 for point in told["control"])
        # Two epochs on a handful of frames need not rise; then the reason is told.
        assert ("share" in told["savings"]) != bool(told["savings"]["reason"])
        sentences = cli.run("campaign", "forecast", "c")
        assert sentences.status == 0, sentences.err
        assert "labels" in sentences.out

        releases = cli.ok("releases", "list", "--campaign", "c")["releases"]
        controls = [release for release in releases if release["kind"] == "CONTROL"]
        assert [release["labeled"] for release in reversed(controls)] == [8, 10]
        assert {release["state"] for release in controls} == {"RETIRED"}
        assert [release["test_iou"] for release in reversed(controls)] == [
            point["iou"] for point in told["control"][1:]
        ]
        withdrawn = {str(release["model"]["version"]) for release in controls}
        held = {folder.name for folder in (tmp_path / "var/models/lv_segmenter").iterdir()}
        assert held
        assert not held & withdrawn

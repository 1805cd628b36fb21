"""From the records of campaigns to table, page and picture."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from clients.experiment.comparison import Comparison, compare
from clients.experiment.folder import ExperimentFolder
from clients.experiment.page import publish
from clients.experiment.plan import ExperimentPlan, Run
from clients.experiment.tables import area_table, curve_table, markdown, ratio_table, reach_table
from tests.unit.clients.experiment.experiments import full_record, record

RECORDS = [
    record("random", 0, [(20, 0.60), (40, 0.70), (60, 0.76)]),
    record("random", 1, [(20, 0.62), (40, 0.72), (60, 0.78)]),
    record("mfe", 0, [(20, 0.60), (40, 0.76), (60, 0.79)]),
    record("mfe", 1, [(20, 0.62), (40, 0.78), (60, 0.81)]),
    full_record(0, 0.79),
    full_record(1, 0.81),
]
PLAN = ExperimentPlan(
    data=Path("camus"), strategies=("random", "mfe"), seeds=(0, 1), label_budget=60
)


@pytest.fixture
def found() -> Comparison:
    return compare(RECORDS, PLAN.strategies)


def test_the_table_has_a_row_for_each_label_count_and_the_full_data(found: Comparison) -> None:
    rows = curve_table(found)
    assert rows[0] == ["labels", "random", "mfe"]
    assert rows[1] == ["20", "61.00 ± 1.41", "61.00 ± 1.41"]
    assert rows[3] == ["60", "77.00 ± 1.41", "80.00 ± 1.41"]
    assert rows[4] == ["400 (all)", "80.00", "80.00"]


def test_labels_to_reach_are_shares_of_the_mean_full_data_iou(found: Comparison) -> None:
    random, mfe = reach_table(found)[1:]
    # 95 % of 0.80 is 0.76: Random is there at 60 and, with seed 1, at 40 + 20 * 4/6.
    assert random == ["random", "57 (60, 53)", "> 60 (>60, >60)", "> 60 (>60, >60)"]
    assert mfe[1] == "39 (40, 38)"
    # 98 % is 0.784: 40 + 20 * 24/30 and 40 + 20 * 4/30.
    assert mfe[2] == "49 (56, 43)"


def test_ratios_name_what_was_never_reached_as_a_bound(found: Comparison) -> None:
    (_, mfe) = ratio_table(found, "random")
    assert mfe[0] == "mfe"
    # (40 + 37.5) / (60 + 53.3); alone, the seeds give 0.667 and 0.703.
    assert mfe[1] == "0.68 [0.67, 0.70]"
    assert mfe[2].startswith("≤ ")
    assert len(ratio_table(found, "mfe")) == 2  # Random against it, not it against itself


def test_the_lead_over_random_is_paired(found: Comparison) -> None:
    random, mfe = area_table(found)[1:]
    assert random[2] == "-"
    # (0.06 / 2 * 20 + (0.06 + 0.03) / 2 * 20) / 40, in each seed
    assert mfe[2] == "+3.75 ± 0.00"


def test_a_strategy_that_started_elsewhere_is_named() -> None:
    others = [*RECORDS, record("mfe+typical", 0, [(20, 0.6), (40, 0.7)], start="other")]
    found = compare(others, ("random", "mfe+typical"))
    assert [each.same_start for each in found.strategies] == [True, False]


def test_an_unfinished_experiment_is_compared_as_far_as_it_is() -> None:
    found = compare(RECORDS[:1], ("random", "mfe", "default"))
    assert [each.name for each in found.strategies] == ["random"]
    assert found.full_iou is None
    assert curve_table(found)[1:] == [["20", "60.00"], ["40", "70.00"], ["60", "76.00"]]
    assert reach_table(found)[1] == ["random", "-", "-", "-"]
    assert compare([], ("random",)).strategies == ()


def test_markdown_aligns_numbers() -> None:
    assert markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |\n"


def test_publishing_writes_page_numbers_and_picture(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path / "out")
    folder.settle(PLAN)
    for each in RECORDS:
        folder.save_run(Run(each["strategy"], each["seed"]), each)
    publish(folder, PLAN, tmp_path / "docs", data="camus224", notes="## What it means\n\nLittle.")
    page = (tmp_path / "docs" / "label-efficiency.md").read_text()
    assert "| 40 | 71.00 ± 1.41 | 77.00 ± 1.41 |" in page
    assert "## What it means" in page
    assert "doi:10.1109/TMI.2019.2900516" in page
    assert "--strategies random,mfe --seeds 0,1 --initial 20 --query 20 --budget 60" in page
    assert "from scratch" in page
    with Image.open(io.BytesIO((tmp_path / "docs" / "label-efficiency.png").read_bytes())) as drawn:
        assert drawn.width > 1000
        assert len(drawn.convert("RGB").getcolors(2**20) or []) > 50
    raw = json.loads((tmp_path / "docs" / "label-efficiency.json").read_text())
    assert [each["run"] for each in raw["campaigns"]] == sorted(each["run"] for each in RECORDS)
    assert raw["comparison"]["full_data"]["test_iou"] == pytest.approx(0.80)


def test_publishing_nothing_writes_no_page(tmp_path: Path) -> None:
    folder = ExperimentFolder(tmp_path / "out")
    assert not publish(folder, PLAN, tmp_path / "docs", data="d").strategies
    assert not (tmp_path / "docs" / "label-efficiency.md").exists()

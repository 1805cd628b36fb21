"""The report of a search: every trial once, honest about what is missing, safe to open."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from clients.report.search_format import NO_VALUE
from clients.report.search_report import render_search_report, write_search_report
from echoloop.v1 import common_pb2
from echoloop.v1 import trainer_pb2 as pb
from tests.unit.clients.report.search_pages import Page, read_page
from tests.unit.clients.report.search_sample import best_of, sample_search, train

_RANK, _TRIAL, _ENCODER, _BATCH, _IOU, _TEST_IOU, _LATENCY, _STATE = 0, 1, 2, 4, 6, 8, 9, 14


@pytest.fixture(scope="module")
def sample() -> tuple[pb.Job, list[pb.Trial]]:
    return sample_search()


@pytest.fixture(scope="module")
def html(sample: tuple[pb.Job, list[pb.Trial]]) -> str:
    return render_search_report(*sample)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return read_page(html)


def _running(trials: list[pb.Trial]) -> pb.Job:
    progress = pb.JobProgress(stage="searching", done=3, total=40, eta_s=3600)
    return pb.Job(id="j", state=pb.JOB_STATE_RUNNING, campaign="camus", progress=progress)


def _configured(number: int, encoder: str = "resnet18") -> pb.Trial:
    return pb.Trial(
        number=number,
        architecture=common_pb2.Architecture(decoder="Unet", encoder=encoder),
        learning_rate=1e-4,
        batch_size=8,
        trained_batch_size=8,
        state=pb.TRIAL_STATE_ACTIVE,
        parameters=14_328_209,
        multiply_adds=5_398_069_248,
    )


def test_every_trial_is_listed_once(sample: tuple[pb.Job, list[pb.Trial]], page: Page) -> None:
    assert sorted(page.rows) == [trial.number for trial in sample[1]]
    assert not page.repeated


def test_ranks_follow_training_and_iou(sample: tuple[pb.Job, list[pb.Trial]], page: Page) -> None:
    ranks = [cells[_RANK] for cells in page.rows.values() if cells[_RANK]]
    assert ranks == [str(rank) for rank in range(1, len(ranks) + 1)]
    by_number = {trial.number: trial for trial in sample[1]}
    shown = [by_number[number] for number, cells in page.rows.items() if cells[_RANK]]
    keys = [(-len(trial.epochs), -trial.iou) for trial in shown]
    assert keys == sorted(keys)
    assert page.rows[best_of(sample[1]).number][_RANK] == "1"


def test_a_trial_without_a_comparable_reward_has_no_rank_but_a_reason(page: Page) -> None:
    for number, state, why in (
        (21, "non finite loss", "is not a finite number"),
        (28, "too slow", "96.4 ms in Triton"),
        (9, "batch never fits", "Not even a batch of 2 fits"),
        (33, "crashed", "ended 3 times"),
    ):
        assert page.rows[number][_RANK] == ""
        assert page.rows[number][_STATE] == state
        assert why in page.text


def test_a_halved_batch_shows_both_sizes(page: Page) -> None:
    assert page.rows[30][_BATCH] == "4 → 2"


def test_the_winners_have_a_card_each(sample: tuple[pb.Job, list[pb.Trial]], page: Page) -> None:
    job, _ = sample
    winners = (job.search.most_accurate, job.search.fastest)
    assert page.winners == [("accurate", winners[0].number), ("fast", winners[1].number)]
    for trial in winners:
        assert f"{trial.parameters:,}" in page.text
        assert f"{trial.test_dice * 100:.2f} %" in page.text
        assert f"{trial.latency_ms:.1f} ms" in page.text


def test_the_saved_epochs_are_those_of_the_trials(
    sample: tuple[pb.Job, list[pb.Trial]], page: Page
) -> None:
    _, trials = sample
    spent = sum(len(trial.epochs) for trial in trials)
    full = 27 * sum(bool(trial.epochs) for trial in trials)
    assert f"{spent} epochs" in page.text
    assert f"{full / spent:.1f} \N{MULTIPLICATION SIGN} fewer" in page.text


def test_a_report_has_its_charts_and_needs_nothing_outside_itself(page: Page) -> None:
    assert len(page.alts) == page.tags.count("svg") == 4
    assert all(alt.endswith(".") for alt in page.alts)
    assert all(link.startswith("#") for link in page.links)
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_charts_follow_the_readers_colour_scheme(html: str) -> None:
    assert "prefers-color-scheme: dark" in html
    assert "stroke: var(--winner)" in html
    assert "fill: #" not in html
    assert "stroke: #" not in html


def test_a_hostile_name_is_shown_and_not_obeyed() -> None:
    evil = '<script>alert("x")</script>'
    maths = r"$\frac{x}{$ onload=x \N{SNOWMAN} 心 %s {{ 7 * 7 }}"
    trials = [_configured(0, evil), _configured(1, maths), _configured(2, "e" * 300)]
    for trial in trials:
        trial.architecture.decoder = "</title><svg onload=alert(1)>"
        train(trial, [0.5, 0.6])
        trial.state = pb.TRIAL_STATE_COMPLETE
    trials[2].state = pb.TRIAL_STATE_FAILED
    trials[2].reason, trials[2].message = "<b>BAD</b>", "</td></table><img src=x onerror=alert(1)>"
    job = _running(trials)
    job.campaign, job.failure_message = '"><script>', "</style><script>"
    job.state = pb.JOB_STATE_FAILED
    page = read_page(render_search_report(job, trials))
    assert not {"script", "img"} & set(page.tags)
    assert not page.handlers
    assert page.rows[0][_ENCODER] == evil
    assert page.rows[1][_ENCODER] == maths
    assert '"><script>' in page.text
    assert "{{ 7 * 7 }}" in page.text


def test_a_search_without_trials_has_a_report() -> None:
    page = read_page(render_search_report(pb.Job(id="j", state=pb.JOB_STATE_QUEUED), []))
    assert "It has not begun." in page.text
    assert "No configuration was tried yet." in page.text
    assert not page.alts


def test_a_single_trial_has_a_report() -> None:
    trial = _configured(0)
    train(trial, [0.4])
    page = read_page(render_search_report(_running([trial]), [trial]))
    assert page.winners == [("accurate", 0)]
    assert "3 of 40 trials are decided, about 1 h 00 min left" in page.text
    assert "known once a trial is complete" in page.text
    assert "It takes 20 trials that were trained equally long; 1 were trained at all." in page.text


def test_a_running_search_shows_who_leads_and_who_has_not_begun() -> None:
    trials = [_configured(number) for number in range(4)]
    for trial, rewards in zip(trials, ([0.4], [0.5, 0.7], [0.6]), strict=False):
        train(trial, rewards)
    trials[0].state = pb.TRIAL_STATE_PAUSED
    page = read_page(render_search_report(_running(trials), trials))
    assert list(page.rows) == [1, 2, 0, 3]
    assert page.rows[3][_RANK] == ""
    assert page.rows[3][_IOU] == NO_VALUE
    assert page.winners == [("accurate", 1)]
    assert "no trial is complete yet" in page.text


def test_a_search_that_trained_everything_to_the_end_claims_no_saving() -> None:
    trials = [_configured(number) for number in range(2)]
    for trial in trials:
        train(trial, [0.5, 0.6])
        trial.state = pb.TRIAL_STATE_COMPLETE
    job = _running(trials)
    job.state = pb.JOB_STATE_CANCELLED
    page = read_page(render_search_report(job, trials))
    assert "would have been those of all 2 to epoch 2" in page.text
    assert "fewer" not in page.text
    assert "the search ended before it chose" in page.text


def test_when_every_trial_failed_the_report_says_why() -> None:
    trials = [_configured(number) for number in range(5)]
    for trial in trials:
        trial.state = pb.TRIAL_STATE_FAILED
        trial.reason, trial.message = "CRASHED", f"Process {trial.number} ended."
    job = pb.Job(
        id="j", state=pb.JOB_STATE_FAILED, failure_reason="CRASHED", failure_message="All failed."
    )
    page = read_page(render_search_report(job, trials))
    assert "It failed: All failed." in page.text
    assert not page.winners
    assert not page.alts
    assert all(f"Process {number} ended." in page.text for number in range(5))


def test_without_a_latency_nothing_is_drawn_or_claimed_of_it() -> None:
    page = read_page(render_search_report(*sample_search(20, timed=False)))
    assert all(cells[_LATENCY] == NO_VALUE for cells in page.rows.values())
    assert "against latency" not in page.text
    assert "against parameters" in page.text


def test_numbers_that_are_none_are_missing_not_shown() -> None:
    trial = _configured(0)
    train(trial, [0.5, 0.6])
    trial.epochs[1].iou = math.nan
    trial.iou = math.nan
    trial.state = pb.TRIAL_STATE_PRUNED
    page = read_page(render_search_report(_running([trial]), [trial]))
    assert page.rows[0][_IOU] == NO_VALUE
    assert "nan" not in page.text


def test_hundreds_of_trials_are_all_listed() -> None:
    job, trials = sample_search(200)
    page = read_page(render_search_report(job, trials))
    assert len(page.rows) == 200
    assert len(page.alts) == 4


def test_what_the_caller_knows_of_the_configuration_is_shown() -> None:
    trial = _configured(0)
    train(trial, [0.5])
    config = pb.SearchConfig(
        sampler=pb.SAMPLER_TPE,
        scheduler=pb.SCHEDULER_ASHA,
        space=pb.SearchSpace(encoders=["RegNetY"], learning_rates=[1e-4, 4e-5]),
    )
    page = read_page(render_search_report(_running([trial]), [trial], config=config))
    for text in ("TPE", "ASHA", "RegNetY", "1e-4, 4e-5", "IoU, validation split"):
        assert text in page.text


def test_the_files_lie_beside_each_other(
    sample: tuple[pb.Job, list[pb.Trial]], tmp_path: Path
) -> None:
    files = write_search_report(*sample, tmp_path / "new" / "search.html")
    assert files.html == tmp_path / "new" / "search.html"
    assert [path.name for path in files.pictures] == ["search-leaderboard.png"]
    assert files.html.stat().st_size < 1_000_000
    picture = cv2.imread(str(files.pictures[0]))
    assert picture is not None
    assert picture.shape == (1080, 1920, 3)
    assert 0.01 < np.mean(picture < 128) < 0.3, "neither blank nor black"
    assert files.pictures[0].stat().st_size < 1_000_000

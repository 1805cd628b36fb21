"""How a search is shown."""

import io
from collections.abc import Sequence

from rich.console import Console

from clients.cli.search_view import SearchView, by_rank, headline, outcome_lines, trial_rows
from echoloop.v1 import common_pb2
from echoloop.v1 import trainer_pb2 as pb


def trial(number: int, iou: float | None, **fields: object) -> pb.Trial:
    values: dict[str, object] = {
        "architecture": common_pb2.Architecture(decoder="Linknet", encoder=f"resnet{number}"),
        "learning_rate": 4e-5,
        "batch_size": 8,
        "trained_batch_size": 8,
        "state": pb.TRIAL_STATE_PRUNED,
        "iou": iou,
        "epochs": [pb.TrialEpoch(epoch=1)] if iou is not None else [],
    }
    return pb.Trial(number=number, **(values | fields))  # type: ignore[arg-type]


def job(done: int, **fields: object) -> pb.Job:
    values: dict[str, object] = {
        "id": "5e1f",
        "kind": pb.JOB_KIND_SEARCH,
        "state": pb.JOB_STATE_RUNNING,
        "campaign": "camus",
        "progress": pb.JobProgress(stage="searching", done=done, total=40, iou=0.8512, eta_s=3700),
    }
    return pb.Job(**(values | fields))  # type: ignore[arg-type]


def rendered(jobs: Sequence[pb.Job], trials: Sequence[pb.Trial], *, terminal: bool) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, color_system=None, width=110)
    view = SearchView(console, lambda: trials)
    for each in jobs:
        view.show(each)
    view.close()
    return file.getvalue()


def test_a_terminal_gets_progress_time_left_best_and_a_leaderboard() -> None:
    running = trial(31, None, state=pb.TRIAL_STATE_ACTIVE)
    trials = [trial(n, 0.6 + n / 100) for n in range(15)] + [running]
    shown = rendered([job(14)], trials, terminal=True)
    for expected in (
        *("Search 5e1f", "data set camus", "14/40 trials", "about 1 h 01 min left", "4e-5"),
        *("Best so far: Linknet+resnet14, IoU 74.00 %", "Linknet+resnet31", "active"),
    ):
        assert expected in shown
    # The ten best and what is under way, not all.
    assert "Linknet+resnet5" in shown
    assert "Linknet+resnet4 " not in shown


def test_anything_else_gets_a_line_a_change_and_no_control_characters() -> None:
    shown = rendered([job(3), job(3), job(4), job(4)], [], terminal=False)
    assert shown.splitlines() == [
        "RUNNING | searching | 3/40 trials | best IoU 85.12 % | about 1 h 01 min left",
        "RUNNING | searching | 4/40 trials | best IoU 85.12 % | about 1 h 01 min left",
    ]


def test_an_ended_search_has_no_time_left() -> None:
    assert headline(job(40, state=pb.JOB_STATE_SUCCEEDED)) == (
        "SUCCEEDED | 40/40 trials | best IoU 85.12 %"
    )


def test_trials_are_ranked_by_reward_and_those_without_come_last() -> None:
    trials = [trial(0, 0.7), trial(1, None), trial(2, 0.8), trial(3, 0.7), trial(4, 0.0)]
    assert [each.number for each in by_rank(trials)] == [2, 0, 3, 4, 1]


def test_a_row_tells_a_shrunk_batch_and_why_a_trial_ended() -> None:
    (cells,) = trial_rows(
        [
            trial(
                7,
                0.8123,
                trained_batch_size=4,
                latency_ms=12.34,
                parameters=50_290_512,
                reason="OUTPERFORMED",
            )
        ]
    )
    assert cells == (
        *("7", "pruned", "Linknet+resnet7", "4e-5", "4 (not 8)", "1", "81.23 %", "-"),
        *("12.3 ms", "50.3 M", "OUTPERFORMED"),
    )


def test_the_outcome_names_both_models_and_the_next_commands() -> None:
    winner = trial(3, 0.87, state=pb.TRIAL_STATE_COMPLETE, test_iou=0.86, parameters=11_000_000)
    fastest = trial(5, 0.865, state=pb.TRIAL_STATE_COMPLETE, latency_ms=6.2)
    ended = job(
        40,
        state=pb.JOB_STATE_SUCCEEDED,
        search=pb.SearchResult(
            most_accurate=winner, fastest=fastest, complete=4, pruned=35, failed=1, epochs=190
        ),
    )
    text = "\n".join(outcome_lines(ended))
    assert "Linknet+resnet3 (learning rate 4e-5, batch 8), IoU 87.00 %, on the test side 86" in text
    assert "Linknet+resnet5" in text
    assert "6.2 ms a frame" in text
    assert "echoloop campaign create NAME --dataset camus --from-search 5e1f --start" in text
    assert "echoloop search report 5e1f" in text

"""`echoloop search`: from the command line to a campaign on the searched model."""

import json
from pathlib import Path
from typing import Any

import pytest

from clients.cli.main import run
from echoloop.v1 import common_pb2, trainer_pb2
from tests.unit.clients.cli.conftest import Command
from tests.unit.clients.conftest import LiveCoordinator


def _json(out: str) -> Any:
    return json.loads(out.strip().splitlines()[-1])


def _lines(out: str) -> list[Any]:
    return [json.loads(line) for line in out.strip().splitlines()]


@pytest.fixture
def labeled(echoloop: Command, study_folder: Path) -> Command:
    """The command, with the data set `d` imported with all of its masks."""
    status, _, err = echoloop("import", str(study_folder), "--dataset", "d", "--labels", "all")
    assert status == 0, err
    return echoloop


def test_two_commands_lead_from_a_data_set_to_a_campaign_on_the_searched_model(
    labeled: Command, live: LiveCoordinator
) -> None:
    status, out, err = labeled("search", "start", "--dataset", "d", "--watch", "--trials", "6")
    assert status == 0, err
    assert "echoloop campaign create NAME --dataset d --from-search" in out
    job = live.trainer.jobs[-1]
    status, out, err = labeled(
        "campaign", "create", "c1", "--dataset", "d", "--from-search", job.id, "--start", "--json"
    )
    assert status == 0, err
    campaign = _json(out)
    assert campaign["state"] == "RUNNING"
    assert campaign["config"]["search"] == job.id
    winner = job.search.most_accurate
    assert campaign["config"]["segmenter"]["encoder"] == winner.architecture.encoder
    assert campaign["config"]["segmenter_hyperparameters"] == {
        "learning_rate": winner.learning_rate,
        "batch_size": winner.trained_batch_size,
        "image_size": 128,
    }
    status, out, _ = labeled("campaign", "show", "c1")
    assert f"Models of the search {job.id}" in out
    assert f"{winner.architecture.decoder}+{winner.architecture.encoder}" in out


def test_latest_is_the_newest_search_of_the_data_set(
    labeled: Command, live: LiveCoordinator
) -> None:
    create = ["campaign", "create", "c", "--dataset", "d", "--from-search", "latest", "--json"]
    status, _, err = labeled(*create)
    assert (status, json.loads(err)["error"]["reason"]) == (1, "NO_FINISHED_SEARCH")
    for _ in range(2):
        labeled("search", "start", "--dataset", "d", "--watch", "--trials", "3")
    status, out, err = labeled(*create)
    assert status == 0, err
    assert _json(out)["config"]["search"] == live.trainer.jobs[-1].id
    labeled("search", "start", "--dataset", "d", "--warm-start", "latest")
    assert live.trainer.searches[-1].config.warm_start == live.trainer.jobs[1].id


def test_every_option_of_a_search_reaches_the_trainer(
    labeled: Command, live: LiveCoordinator, tmp_path: Path
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("encoders: [ResNet]\nlearning_rates: [1e-4]\nimage_size: 96\n")
    status, out, err = labeled(
        "search", "start", "--dataset", "d", "--space", str(space), "--decoders", "Linknet,FPN",
        "--batch-sizes", "4,8", "--max-parameters", "60000000", "--sampler", "random",
        "--scheduler", "hyperband", "--trials", "12", "--epochs", "9", "--min-epochs", "2",
        "--reduction-factor", "4", "--seed", "7", "--parallel", "2", "--warm-start", "5e1f",
        "--encoder-weights", "imagenet", "--validation-share", "0.3", "--reward-split", "test",
        "--max-latency-ms", "20", "--max-memory-mib", "4000", "--pareto", "latency,parameters",
        "--memory-mib", "2000", "--time-s", "600", "--cpus", "1", "--gpus", "0.5", "--json",
    )  # fmt: skip
    assert status == 0, err
    assert _json(out)["kind"] == "SEARCH"
    (request,) = live.trainer.searches
    assert (request.dataset, len(request.frames), len(request.test_frames)) == ("d", 24, 8)
    assert request.config == trainer_pb2.SearchConfig(
        space=trainer_pb2.SearchSpace(
            encoders=["ResNet"],
            decoders=["Linknet", "FPN"],
            learning_rates=[1e-4],
            batch_sizes=[4, 8],
            max_parameters=60_000_000,
            image_size=96,
        ),
        sampler=trainer_pb2.SAMPLER_RANDOM,
        scheduler=trainer_pb2.SCHEDULER_HYPERBAND,
        trials=12,
        epochs=9,
        min_epochs=2,
        reduction_factor=4,
        objective=trainer_pb2.SearchObjective(
            max_latency_ms=20,
            max_memory_mib=4000,
            pareto=[trainer_pb2.COST_LATENCY, trainer_pb2.COST_PARAMETERS],
        ),
        validation_share=0.3,
        reward_split=trainer_pb2.REWARD_SPLIT_TEST,
        seed=7,
        parallel=2,
        limits=trainer_pb2.TrialLimits(time_s=600, memory_mib=2000, cpus=1, gpus=0.5),
        warm_start="5e1f",
        encoder_weights="imagenet",
    )


def test_a_search_without_options_leaves_the_choices_to_the_trainer(
    labeled: Command, live: LiveCoordinator
) -> None:
    status, out, err = labeled("search", "start", "--dataset", "d")
    assert status == 0, err
    job = live.trainer.jobs[-1]
    assert f"echoloop search watch {job.id}" in out
    assert f"--from-search {job.id}" in out
    assert live.trainer.searches[-1].config == trainer_pb2.SearchConfig(
        space=trainer_pb2.SearchSpace(image_size=128),
        sampler=trainer_pb2.SAMPLER_TPE,
        scheduler=trainer_pb2.SCHEDULER_ASHA,
        objective=trainer_pb2.SearchObjective(),
        reward_split=trainer_pb2.REWARD_SPLIT_VALIDATION,
        limits=trainer_pb2.TrialLimits(),
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--encoders", "resnet19"], "UNKNOWN_ARCHITECTURE"),
        (["--pairs", "PAN+densenet121"], "INCOMPATIBLE_ARCHITECTURE"),
        (["--max-parameters", "1"], "EMPTY_SEARCH_SPACE"),
        (["--space", "no-such-file.yaml"], "SEARCH_SPACE_FILE_MISSING"),
        (["--sampler", "guess"], "UNKNOWN_WORD"),
        (["--scheduler", "cron"], "UNKNOWN_WORD"),
        (["--pareto", "latency,beauty"], "UNKNOWN_WORD"),
        (["--reward-split", "train"], "UNKNOWN_WORD"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_asked_of_a_service(
    options: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = ["--coordinator", "127.0.0.1:9", "--trainer", "127.0.0.1:9"]
    assert run(["search", "start", "--dataset", "d", *options, "--json", *nowhere]) == 1
    assert json.loads(capsys.readouterr().err)["error"]["reason"] == reason


def test_a_data_set_without_train_masks_says_how_to_add_them(
    echoloop: Command, study_folder: Path
) -> None:
    echoloop("import", str(study_folder), "--dataset", "d")
    status, _, err = echoloop("search", "start", "--dataset", "d")
    assert (status, "NO_LABELED_FRAMES" in err) == (1, True)
    assert "echoloop import FOLDER --dataset d --labels all" in err
    status, out, err = echoloop("import", str(study_folder), "--dataset", "d", "--labels", "all")
    assert status == 0, err
    assert "24 of before have a mask now" in out
    status, _, err = echoloop("search", "start", "--dataset", "d")
    assert status == 0, err


def test_a_watch_prints_a_line_a_change_or_a_json_value(
    labeled: Command, live: LiveCoordinator
) -> None:
    labeled("search", "start", "--dataset", "d", "--trials", "4")
    job = live.trainer.jobs[-1]
    status, out, err = labeled("search", "watch", job.id, "--json")
    assert status == 0, err
    events = _lines(out)
    assert events[-1]["state"] == "SUCCEEDED"
    assert events[-1]["search"]["most_accurate"]["state"] == "COMPLETE"
    status, out, _ = labeled("search", "watch", job.id)
    assert status == 0
    assert "SUCCEEDED | 4/4 trials | best IoU" in out
    assert "For" not in out.splitlines()[0]
    assert "for segmentation" in out
    status, out, _ = labeled("search", "start", "--dataset", "d", "--watch", "--json")
    assert (status, _lines(out)[-1]["state"]) == (0, "SUCCEEDED")


def test_a_failed_or_cancelled_search_ends_the_watch_with_status_1(
    labeled: Command, live: LiveCoordinator
) -> None:
    live.trainer.fail_next(trainer_pb2.JOB_KIND_SEARCH, "BATCH_NEVER_FITS", "No batch fits.")
    status, _, err = labeled("search", "start", "--dataset", "d", "--watch")
    assert (status, "No batch fits. [BATCH_NEVER_FITS]" in err) == (1, True)
    live.trainer.step_s = 60
    labeled("search", "start", "--dataset", "d")
    job = live.trainer.jobs[-1]
    status, out, _ = labeled("search", "cancel", job.id)
    assert (status, "CANCELLED" in out) == (0, True)
    status, _, err = labeled("search", "watch", job.id, "--json")
    assert (status, json.loads(err)["error"]["reason"]) == (1, "SEARCH_CANCELLED")


def test_searches_and_trials_are_listed_for_people_and_programs(
    labeled: Command, live: LiveCoordinator, tmp_path: Path
) -> None:
    status, out, _ = labeled("search", "list")
    assert (status, "No search yet" in out) == (0, True)
    labeled("search", "start", "--dataset", "d", "--watch", "--trials", "6")
    job = live.trainer.jobs[-1]
    status, out, _ = labeled("search", "list", "--dataset", "d", "--json")
    assert [search["id"] for search in _json(out)["searches"]] == [job.id]
    status, out, _ = labeled("search", "list")
    assert job.id in out
    assert "6/6" in out
    status, out, _ = labeled("search", "trials", job.id, "--json")
    trials = _json(out)["trials"]
    ious = [trial["iou"] for trial in trials if "iou" in trial]
    assert len(trials) == 6
    assert ious == sorted(ious, reverse=True)
    status, out, _ = labeled("search", "trials", job.id, "--top", "2")
    assert len(out.splitlines()) == 3
    status, out, _ = labeled("jobs", "list")
    assert "search" in out
    assert "6/6 trials" in out
    status, out, _ = labeled("jobs", "watch", job.id)
    assert (status, "SUCCEEDED" in out) == (0, True)


def test_a_report_of_a_search_is_written(
    labeled: Command, live: LiveCoordinator, tmp_path: Path
) -> None:
    labeled("search", "start", "--dataset", "d", "--watch", "--trials", "6")
    out_file = tmp_path / "search.html"
    status, out, err = labeled(
        "search", "report", live.trainer.jobs[-1].id, "--out", str(out_file), "--json"
    )
    assert status == 0, err
    assert _json(out)["report"] == str(out_file)
    assert "resnet18" in out_file.read_text()


def test_the_space_is_shown_without_any_service(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["search", "space", "--json"]) == 0
    summary = _json(capsys.readouterr().out)
    assert (len(summary["encoders"]), len(summary["decoders"])) == (46, 9)
    assert (summary["configurations"], summary["valid_pairs"]) == (7452, 396)
    assert len(summary["learning_rates"]) == 6
    assert len(summary["batch_sizes"]) == 3
    assert all(pair["reason"] for pair in summary["invalid_pairs"])

    file = tmp_path / "space.yaml"
    file.write_text("encoders: [resnet18, densenet121, vgg16_bn]\ndecoders: [PAN, Linknet]\n")
    assert run(["search", "space", "--file", str(file), "--max-parameters", "14000000"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("108 configurations, at 256 x 256 pixels: 6 pairs of decoder and encoder")
    assert "Cannot be built: The decoder needs a dilated encoder, and the encoder halves" in out
    assert "PAN +           densenet121, vgg16_bn" in out
    assert "Left out: more than 14 M parameters." in out


def test_a_network_is_described_without_any_service(capsys: pytest.CaptureFixture[str]) -> None:
    describe = ["search", "describe", "--decoder", "PAN", "--encoder"]
    assert run([*describe, "tu-regnety_120", "--json"]) == 0
    assert _json(capsys.readouterr().out)["parameters"] == 50290512
    assert run([*describe, "tu-regnety_120"]) == 0
    out = capsys.readouterr().out
    assert "50,290,512" in out
    assert "works at 6 places" in out
    assert run([*describe, "densenet121"]) == 1
    err = capsys.readouterr().err
    assert "INCOMPATIBLE_ARCHITECTURE" in err
    assert err.count("\n") == 1


def test_networks_may_be_written_as_search_spaces_write_them(
    labeled: Command, live: LiveCoordinator
) -> None:
    for name, network in (("a", "Unet++/resnet18"), ("b", "Unet+++resnet18")):
        labeled("campaign", "create", name, "--dataset", "d", "--segmenter", network)
    expected = common_pb2.Architecture(decoder="Unet++", encoder="resnet18")
    assert [check.config.architecture for check in live.trainer.checks] == [expected, expected]

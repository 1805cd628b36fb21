"""Trials and what a search found, as messages; page tokens of trials."""

from dataclasses import replace

from echoloop.v1 import trainer_pb2
from services.platform.page_tokens import decode_page_token, encode_page_token
from trainer.domain.search.pairs import Pair, load_pairs
from trainer.domain.search.trials import Epoch, Trial, TrialState
from trainer.jobs.errors import InvalidJobRequest
from trainer.jobs.results import SearchResult
from trainer.rpc.network_messages import architecture_message

__all__ = ["search_result_message", "trial_after", "trial_message", "trial_page_token"]

_STATES = {
    TrialState.ACTIVE: trainer_pb2.TRIAL_STATE_ACTIVE,
    TrialState.PAUSED: trainer_pb2.TRIAL_STATE_PAUSED,
    TrialState.COMPLETE: trainer_pb2.TRIAL_STATE_COMPLETE,
    TrialState.PRUNED: trainer_pb2.TRIAL_STATE_PRUNED,
    TrialState.FAILED: trainer_pb2.TRIAL_STATE_FAILED,
    TrialState.CANCELLED: trainer_pb2.TRIAL_STATE_CANCELLED,
}


def trial_message(trial: Trial, encoder_weights: str | None = None) -> trainer_pb2.Trial:
    """Return a trial as a message.

    Args:
        trial: A snapshot.
        encoder_weights: Those that the trials of its search start from.
    """
    configuration, best = trial.configuration, trial.best
    pair = load_pairs().get((configuration.decoder, configuration.encoder))
    network = replace(configuration.model, encoder_weights=encoder_weights)
    return trainer_pb2.Trial(
        number=trial.number,
        architecture=architecture_message(network),
        learning_rate=configuration.learning_rate,
        batch_size=configuration.batch_size,
        trained_batch_size=trial.trained_batch_size,
        state=_STATES[trial.state],
        bracket=trial.bracket,
        epochs=[_epoch_message(epoch) for epoch in trial.epochs],
        iou=None if best is None else best.iou,
        dice=None if best is None else best.dice,
        test_iou=trial.test_iou,
        test_dice=trial.test_dice,
        latency_ms=trial.latency_ms,
        parameters=pair.parameters if isinstance(pair, Pair) else 0,
        multiply_adds=pair.multiply_adds if isinstance(pair, Pair) else 0,
        memory_mib=trial.memory_mib,
        seconds=trial.seconds,
        attempts=trial.attempts,
        reason=trial.reason,
        message=trial.message,
    )


def search_result_message(result: SearchResult) -> trainer_pb2.SearchResult:
    """Return what a search found as a message."""
    return trainer_pb2.SearchResult(
        most_accurate=trial_message(result.most_accurate, result.encoder_weights),
        fastest=trial_message(result.fastest, result.encoder_weights),
        pareto_front=result.pareto_front,
        complete=result.complete,
        pruned=result.pruned,
        failed=result.failed,
        epochs=result.epochs,
        seconds=result.seconds,
        image_size=result.image_size,
    )


def trial_page_token(job_id: str, after: int | None) -> str:
    """Return the opaque token of a place among a search's trials; empty at the end."""
    return "" if after is None else encode_page_token(_list(job_id), (after,))


def trial_after(job_id: str, token: str) -> int:
    """Return the number after which a page starts; -1 for the empty token of the first page.

    Raises:
        InvalidJobRequest: It is no token of this search's trials.
    """
    if not token:
        return -1
    try:
        (after,) = decode_page_token(token, _list(job_id), (int,))
    except ValueError as exc:
        raise InvalidJobRequest(
            "page_token is not one that ListTrials returned for this search. Leave it empty for "
            "the first page."
        ) from exc
    return int(after)


def _list(job_id: str) -> tuple[str, str]:
    return ("trials", job_id)


def _epoch_message(epoch: Epoch) -> trainer_pb2.TrialEpoch:
    return trainer_pb2.TrialEpoch(
        epoch=epoch.number,
        loss=epoch.loss,
        iou=epoch.iou,
        dice=epoch.dice,
        seconds=epoch.seconds,
    )

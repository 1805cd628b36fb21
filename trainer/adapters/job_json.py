"""Typed JSON of job specifications, results and progress, for the database and the job folders."""

from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from trainer.jobs.errors import InvalidJobRequest
from trainer.jobs.job import JobKind, Progress
from trainer.jobs.results import EvaluationResult, RetrainingResult, TrainedModel
from trainer.jobs.specs import EvaluationSpec, JobSpec, RetrainingSpec

__all__ = [
    "dump_progress",
    "dump_result",
    "dump_spec",
    "dump_trained",
    "kind_of",
    "load_progress",
    "load_result",
    "load_spec",
    "load_trained",
]

T = TypeVar("T")

_RETRAINING: Final = TypeAdapter(RetrainingSpec)
_EVALUATION: Final = TypeAdapter(EvaluationSpec)
_RETRAINING_RESULT: Final = TypeAdapter(RetrainingResult)
_EVALUATION_RESULT: Final = TypeAdapter(EvaluationResult)
_TRAINED: Final = TypeAdapter(TrainedModel)
_PROGRESS: Final = TypeAdapter(Progress)


def kind_of(spec: JobSpec) -> JobKind:
    """Return the kind of job that a specification asks for."""
    return JobKind.RETRAINING if isinstance(spec, RetrainingSpec) else JobKind.EVALUATION


def dump_spec(spec: JobSpec) -> str:
    """Return a specification as JSON; equal specifications give equal text."""
    if isinstance(spec, RetrainingSpec):
        return _RETRAINING.dump_json(spec).decode()
    return _EVALUATION.dump_json(spec).decode()


def load_spec(kind: JobKind, text: str | bytes) -> JobSpec:
    """Read what `dump_spec` wrote.

    Raises:
        InvalidJobRequest: The text is no such specification.
    """
    if kind is JobKind.RETRAINING:
        return _load(_RETRAINING, text)
    return _load(_EVALUATION, text)


def dump_result(result: RetrainingResult | EvaluationResult) -> str:
    """Return a result as JSON."""
    if isinstance(result, RetrainingResult):
        return _RETRAINING_RESULT.dump_json(result).decode()
    return _EVALUATION_RESULT.dump_json(result).decode()


def load_result(kind: JobKind, text: str | bytes) -> RetrainingResult | EvaluationResult:
    """Read what `dump_result` wrote."""
    if kind is JobKind.RETRAINING:
        return _load(_RETRAINING_RESULT, text)
    return _load(_EVALUATION_RESULT, text)


def dump_trained(trained: TrainedModel) -> str:
    """Return what a worker trained as JSON."""
    return _TRAINED.dump_json(trained).decode()


def load_trained(text: str | bytes) -> TrainedModel:
    """Read what `dump_trained` wrote."""
    return _load(_TRAINED, text)


def dump_progress(progress: Progress) -> str:
    """Return progress as one line of JSON."""
    return _PROGRESS.dump_json(progress).decode()


def load_progress(text: str | bytes) -> Progress:
    """Read what `dump_progress` wrote."""
    return _load(_PROGRESS, text)


def _load(adapter: "TypeAdapter[T]", text: str | bytes) -> T:
    try:
        return adapter.validate_json(text)
    except ValidationError as exc:
        raise InvalidJobRequest(
            "A stored job cannot be read; it was written by another release."
        ) from exc

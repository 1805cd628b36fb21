"""Typed JSON of job specifications, results and progress, for the database and the job folders."""

from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from trainer.domain.search.trials import Epoch
from trainer.jobs.errors import InvalidJobRequest
from trainer.jobs.job import JobKind, Progress
from trainer.jobs.results import (
    EvaluationResult,
    JobResult,
    RetrainingResult,
    SearchResult,
)
from trainer.jobs.specs import EvaluationSpec, JobSpec, RetrainingSpec, SearchSpec

__all__ = [
    "dump_epoch",
    "dump_progress",
    "dump_result",
    "dump_spec",
    "kind_of",
    "load_epoch",
    "load_progress",
    "load_result",
    "load_spec",
]

T = TypeVar("T")

_KINDS: Final[dict[type, JobKind]] = {
    RetrainingSpec: JobKind.RETRAINING,
    EvaluationSpec: JobKind.EVALUATION,
    SearchSpec: JobKind.SEARCH,
}
_SPECS: Final[dict[JobKind, TypeAdapter[Any]]] = {
    kind: TypeAdapter(spec) for spec, kind in _KINDS.items()
}
_RESULTS: Final[dict[JobKind, TypeAdapter[Any]]] = {
    JobKind.RETRAINING: TypeAdapter(RetrainingResult),
    JobKind.EVALUATION: TypeAdapter(EvaluationResult),
    JobKind.SEARCH: TypeAdapter(SearchResult),
}
_RESULT: Final[TypeAdapter[JobResult]] = TypeAdapter(JobResult)
_PROGRESS: Final = TypeAdapter(Progress)
_EPOCH: Final = TypeAdapter(Epoch)


def kind_of(spec: JobSpec) -> JobKind:
    """Return the kind of job that a specification asks for."""
    return _KINDS[type(spec)]


def dump_spec(spec: JobSpec) -> str:
    """Return a specification as JSON; equal specifications give equal text."""
    return _SPECS[kind_of(spec)].dump_json(spec).decode()


def load_spec(kind: JobKind, text: str | bytes) -> JobSpec:
    """Read what `dump_spec` wrote.

    Raises:
        InvalidJobRequest: The text is no such specification.
    """
    spec: JobSpec = _load(_SPECS[kind], text)
    return spec


def dump_result(result: JobResult) -> str:
    """Return a result as JSON."""
    return _RESULT.dump_json(result).decode()


def load_result(kind: JobKind, text: str | bytes) -> JobResult:
    """Read what `dump_result` wrote."""
    result: JobResult = _load(_RESULTS[kind], text)
    return result


def dump_progress(progress: Progress) -> str:
    """Return progress as one line of JSON."""
    return _PROGRESS.dump_json(progress).decode()


def load_progress(text: str | bytes) -> Progress:
    """Read what `dump_progress` wrote."""
    return _load(_PROGRESS, text)


def dump_epoch(epoch: Epoch) -> str:
    """Return an epoch of a trial as one line of JSON."""
    return _EPOCH.dump_json(epoch).decode()


def load_epoch(text: str | bytes) -> Epoch:
    """Read what `dump_epoch` wrote."""
    return _load(_EPOCH, text)


def _load(adapter: "TypeAdapter[T]", text: str | bytes) -> T:
    try:
        return adapter.validate_json(text)
    except ValidationError as exc:
        raise InvalidJobRequest(
            "A stored job cannot be read; it was written by another release."
        ) from exc

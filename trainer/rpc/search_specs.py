"""Requests for searches as specifications: every choice made, fields checked."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from echoloop.v1 import trainer_pb2
from trainer.domain.search.catalog import BATCH_SIZES, LEARNING_RATES
from trainer.domain.search.plan import (
    Objective,
    RewardSplit,
    SamplerKind,
    SchedulerKind,
    SearchPlan,
    TrialLimits,
    telling_epochs,
)
from trainer.domain.search.space import SearchSpace
from trainer.jobs.errors import InvalidJobRequest
from trainer.jobs.specs import SearchSpec
from trainer.rpc.request_specs import labeled_frames
from trainer.rpc.search_messages import COSTS, REWARD_SPLITS, SAMPLERS, SCHEDULERS

__all__ = ["search_spec"]

T = TypeVar("T")

_IMAGE_SIZE = 128
_MAX_BATCH_SIZE = 1024


def search_spec(request: trainer_pb2.StartSearchRequest) -> SearchSpec:
    """Return what a search is asked to do, with every choice made.

    Raises:
        InvalidInputError: A name is unknown, a pair cannot be built, the space is empty, or a value
            is out of range; says what is allowed.
    """
    frames = labeled_frames(request.frames)
    return SearchSpec(
        _plan(request.config, len(frames)), frames, labeled_frames(request.test_frames)
    )


def _plan(config: trainer_pb2.SearchConfig, n_frames: int) -> SearchPlan:
    numbers = ("trials", "epochs", "min_epochs", "reduction_factor", "validation_share")
    # Zero stands for the plan's own default.
    stated: dict[str, Any] = {name: value for name in numbers if (value := getattr(config, name))}
    weights = config.encoder_weights if config.HasField("encoder_weights") else ""
    plan = SearchPlan(
        space=_space(config.space),
        sampler=_chosen("sampler", config.sampler, SAMPLERS, SamplerKind.TPE),
        scheduler=_chosen("scheduler", config.scheduler, SCHEDULERS, SchedulerKind.ASHA),
        objective=_objective(config.objective),
        reward_split=_chosen(
            "reward_split", config.reward_split, REWARD_SPLITS, RewardSplit.VALIDATION
        ),
        seed=config.seed,
        parallel=config.parallel,
        limits=_limits(config.limits),
        warm_start=config.warm_start,
        encoder_weights=weights or None,
        **stated,
    )
    n_trained = round(n_frames * (1.0 - plan.validation_share))
    return replace(
        plan,
        trials=min(plan.trials, len(plan.space)),
        min_epochs=config.min_epochs or telling_epochs(plan, n_trained),
    )


def _space(space: trainer_pb2.SearchSpace) -> SearchSpace:
    if any(size > _MAX_BATCH_SIZE for size in space.batch_sizes):
        raise InvalidJobRequest(
            f"A batch size is {max(space.batch_sizes)}; allowed are 2 to {_MAX_BATCH_SIZE}."
        )
    return SearchSpace.define(
        encoders=space.encoders,
        decoders=space.decoders,
        pairs=space.pairs,
        learning_rates=space.learning_rates or LEARNING_RATES,
        batch_sizes=space.batch_sizes or BATCH_SIZES,
        max_parameters=space.max_parameters or None,
        image_size=space.image_size or _IMAGE_SIZE,
    )


def _objective(objective: trainer_pb2.SearchObjective) -> Objective:
    return Objective(
        max_latency_ms=objective.max_latency_ms or None,
        max_memory_mib=objective.max_memory_mib or None,
        # A cost that is stated twice weighs no more.
        pareto=tuple(dict.fromkeys(_chosen("pareto", cost, COSTS) for cost in objective.pareto)),
    )


def _limits(limits: trainer_pb2.TrialLimits) -> TrialLimits:
    time_s = limits.time_s or TrialLimits().time_s
    return TrialLimits(time_s, limits.memory_mib or None, limits.cpus or None, limits.gpus)


def _chosen(field: str, value: int, choices: Mapping[T, int], unstated: T | None = None) -> T:
    if value == 0 and unstated is not None:
        return unstated
    for choice, number in choices.items():
        if number == value:
            return choice
    raise InvalidJobRequest(
        f"{field} has the unknown value {value}; allowed are {', '.join(map(str, choices))}."
    )

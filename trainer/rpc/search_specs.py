"""Requests for searches as specifications: every choice made, fields checked."""

from collections.abc import Mapping
from typing import TypeVar

from echoloop.v1 import trainer_pb2
from trainer.domain.search.catalog import BATCH_SIZES, LEARNING_RATES
from trainer.domain.search.plan import (
    Cost,
    Objective,
    RewardSplit,
    SamplerKind,
    SchedulerKind,
    SearchPlan,
    TrialLimits,
)
from trainer.domain.search.space import SearchSpace
from trainer.jobs.errors import InvalidJobRequest
from trainer.jobs.specs import SearchSpec
from trainer.rpc.request_specs import labeled_frames

__all__ = ["search_spec"]

T = TypeVar("T")

_SAMPLERS: Mapping[int, SamplerKind] = {
    trainer_pb2.SAMPLER_UNSPECIFIED: SamplerKind.TPE,
    trainer_pb2.SAMPLER_RANDOM: SamplerKind.RANDOM,
    trainer_pb2.SAMPLER_TPE: SamplerKind.TPE,
}
_SCHEDULERS: Mapping[int, SchedulerKind] = {
    trainer_pb2.SCHEDULER_UNSPECIFIED: SchedulerKind.ASHA,
    trainer_pb2.SCHEDULER_NONE: SchedulerKind.NONE,
    trainer_pb2.SCHEDULER_ASHA: SchedulerKind.ASHA,
    trainer_pb2.SCHEDULER_HYPERBAND: SchedulerKind.HYPERBAND,
}
_COSTS: Mapping[int, Cost] = {
    trainer_pb2.COST_LATENCY: Cost.LATENCY,
    trainer_pb2.COST_PARAMETERS: Cost.PARAMETERS,
    trainer_pb2.COST_MEMORY: Cost.MEMORY,
}
_REWARD_SPLITS: Mapping[int, RewardSplit] = {
    trainer_pb2.REWARD_SPLIT_UNSPECIFIED: RewardSplit.VALIDATION,
    trainer_pb2.REWARD_SPLIT_VALIDATION: RewardSplit.VALIDATION,
    trainer_pb2.REWARD_SPLIT_TEST: RewardSplit.TEST,
}

_IMAGE_SIZE = 128
_TRIALS = 40
_EPOCHS = 27
_MIN_EPOCHS = 1
_REDUCTION_FACTOR = 3
_VALIDATION_SHARE = 0.2
_TIME_S = 6 * 3600.0
_MAX_BATCH_SIZE = 1024


def search_spec(request: trainer_pb2.StartSearchRequest) -> SearchSpec:
    """Return what a search is asked to do, with every choice made.

    Raises:
        InvalidInputError: A name is unknown, a pair cannot be built, the space is empty, or a value
            is out of range; says what is allowed.
    """
    return SearchSpec(
        _plan(request.config),
        labeled_frames(request.frames),
        labeled_frames(request.test_frames),
    )


def _plan(config: trainer_pb2.SearchConfig) -> SearchPlan:
    space = _space(config.space)
    weights = config.encoder_weights if config.HasField("encoder_weights") else ""
    return SearchPlan(
        space=space,
        sampler=_chosen("sampler", config.sampler, _SAMPLERS),
        scheduler=_chosen("scheduler", config.scheduler, _SCHEDULERS),
        trials=min(config.trials or _TRIALS, len(space)),
        epochs=config.epochs or _EPOCHS,
        min_epochs=config.min_epochs or _MIN_EPOCHS,
        reduction_factor=config.reduction_factor or _REDUCTION_FACTOR,
        objective=_objective(config.objective),
        validation_share=config.validation_share or _VALIDATION_SHARE,
        reward_split=_chosen("reward_split", config.reward_split, _REWARD_SPLITS),
        seed=config.seed,
        parallel=config.parallel,
        limits=_limits(config.limits),
        warm_start=config.warm_start,
        encoder_weights=weights or None,
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
        pareto=tuple(dict.fromkeys(_chosen("pareto", cost, _COSTS) for cost in objective.pareto)),
    )


def _limits(limits: trainer_pb2.TrialLimits) -> TrialLimits:
    return TrialLimits(
        time_s=limits.time_s or _TIME_S,
        memory_mib=limits.memory_mib or None,
        cpus=limits.cpus or None,
        gpus=limits.gpus,
    )


def _chosen(field: str, value: int, choices: Mapping[int, T]) -> T:
    if value not in choices:
        raise InvalidJobRequest(
            f"{field} has the unknown value {value}; allowed are "
            f"{', '.join(dict.fromkeys(str(choice) for choice in choices.values()))}."
        )
    return choices[value]

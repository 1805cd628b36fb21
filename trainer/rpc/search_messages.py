"""How a search runs, as a message."""

from collections.abc import Mapping

from echoloop.v1 import trainer_pb2
from trainer.domain.search.plan import Cost, RewardSplit, SamplerKind, SchedulerKind, SearchPlan
from trainer.domain.search.space import SearchSpace

__all__ = ["COSTS", "REWARD_SPLITS", "SAMPLERS", "SCHEDULERS", "search_config"]

SAMPLERS: Mapping[SamplerKind, "trainer_pb2.Sampler.ValueType"] = {
    SamplerKind.RANDOM: trainer_pb2.SAMPLER_RANDOM,
    SamplerKind.TPE: trainer_pb2.SAMPLER_TPE,
}
SCHEDULERS: Mapping[SchedulerKind, "trainer_pb2.Scheduler.ValueType"] = {
    SchedulerKind.NONE: trainer_pb2.SCHEDULER_NONE,
    SchedulerKind.ASHA: trainer_pb2.SCHEDULER_ASHA,
    SchedulerKind.HYPERBAND: trainer_pb2.SCHEDULER_HYPERBAND,
}
COSTS: Mapping[Cost, "trainer_pb2.Cost.ValueType"] = {
    Cost.LATENCY: trainer_pb2.COST_LATENCY,
    Cost.PARAMETERS: trainer_pb2.COST_PARAMETERS,
    Cost.MEMORY: trainer_pb2.COST_MEMORY,
}
REWARD_SPLITS: Mapping[RewardSplit, "trainer_pb2.RewardSplit.ValueType"] = {
    RewardSplit.VALIDATION: trainer_pb2.REWARD_SPLIT_VALIDATION,
    RewardSplit.TEST: trainer_pb2.REWARD_SPLIT_TEST,
}


def search_config(plan: SearchPlan) -> trainer_pb2.SearchConfig:
    """Return a plan as a message, with every default filled in and its networks by name."""
    return trainer_pb2.SearchConfig(
        space=_space(plan.space),
        sampler=SAMPLERS[plan.sampler],
        scheduler=SCHEDULERS[plan.scheduler],
        trials=plan.trials,
        epochs=plan.epochs,
        min_epochs=plan.min_epochs,
        reduction_factor=plan.reduction_factor,
        objective=trainer_pb2.SearchObjective(
            max_latency_ms=plan.objective.max_latency_ms or 0.0,
            max_memory_mib=plan.objective.max_memory_mib or 0.0,
            pareto=[COSTS[cost] for cost in plan.objective.pareto],
        ),
        validation_share=plan.validation_share,
        reward_split=REWARD_SPLITS[plan.reward_split],
        seed=plan.seed,
        parallel=plan.parallel,
        limits=trainer_pb2.TrialLimits(
            time_s=plan.limits.time_s,
            memory_mib=plan.limits.memory_mib or 0.0,
            cpus=plan.limits.cpus or 0.0,
            gpus=plan.limits.gpus,
        ),
        warm_start=plan.warm_start,
        encoder_weights=plan.encoder_weights,
    )


def _space(space: SearchSpace) -> trainer_pb2.SearchSpace:
    return trainer_pb2.SearchSpace(
        pairs=[str(pair) for pair in space.pairs],
        learning_rates=space.learning_rates,
        batch_sizes=space.batch_sizes,
        max_parameters=space.max_parameters or 0,
        image_size=space.image_size,
    )

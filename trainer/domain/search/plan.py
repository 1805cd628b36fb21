"""What a search is asked to do, with every choice made."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from trainer.domain.errors import InvalidSpecification
from trainer.domain.search.space import SearchSpace

__all__ = [
    "Cost",
    "Objective",
    "RewardSplit",
    "SamplerKind",
    "SchedulerKind",
    "SearchPlan",
    "TrialLimits",
    "telling_epochs",
]

_TELLING_STEPS = 80
"""Optimizer steps after which results begin to tell networks apart. Before, from random weights,
they show which decoder leaves zero first, not which ends highest: docs/results/search-cost.md."""

MAX_TRIALS = 10_000
MAX_EPOCHS = 1_000


class SamplerKind(StrEnum):
    """How proposals are made."""

    RANDOM = "random"
    TPE = "tpe"


class SchedulerKind(StrEnum):
    """How long a trial is trained."""

    NONE = "none"
    ASHA = "asha"
    HYPERBAND = "hyperband"


class Cost(StrEnum):
    """What a network costs."""

    LATENCY = "latency"
    PARAMETERS = "parameters"
    MEMORY = "memory"


class RewardSplit(StrEnum):
    """Frames that the reward is measured on."""

    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Objective:
    """The highest reward IoU, within limits or against costs.

    Attributes:
        max_latency_ms: Networks that take longer a frame in Triton are not trained; None: no limit.
        max_memory_mib: Trials whose training took more are no winners; None: no limit.
        pareto: Costs to weigh against the IoU; empty searches for the IoU alone.
    """

    max_latency_ms: float | None = None
    max_memory_mib: float | None = None
    pareto: tuple[Cost, ...] = ()

    def __post_init__(self) -> None:
        for name in ("max_latency_ms", "max_memory_mib"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0.0):
                raise InvalidSpecification(f"{name} is {value}; it must be a positive number")

    @property
    def needs_latency(self) -> bool:
        """Whether a network's latency must be known before it is trained."""
        return self.max_latency_ms is not None or Cost.LATENCY in self.pareto


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """What one trial may use.

    Attributes:
        time_s: Seconds of training and measuring, all attempts together.
        memory_mib: Memory of its process; None: only the machine's limit.
        cpus: Processors that it computes with, and reserves on a Ray cluster; None: those of one
            worker.
        gpus: Share of a GPU that it reserves there.
    """

    time_s: float = 6 * 3600.0
    memory_mib: float | None = None
    cpus: float | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        for name, value, least in (
            ("time_s", self.time_s, 0.0),
            ("memory_mib", self.memory_mib, 0.0),
            ("cpus", self.cpus, 0.0),
        ):
            if value is not None and not (math.isfinite(value) and value > least):
                raise InvalidSpecification(f"{name} is {value}; it must be a positive number")
        if not (math.isfinite(self.gpus) and self.gpus >= 0.0):
            raise InvalidSpecification(f"gpus is {self.gpus}; it must be 0 or a positive number")


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How a search runs.

    Attributes:
        space: Where it looks.
        sampler: How proposals are made.
        scheduler: How long each is trained.
        trials: Configurations to try, at most all of the space.
        epochs: Epochs of a trial that is trained to the end.
        min_epochs: Epochs before the first decision of ASHA and Hyperband.
        reduction_factor: One in so many is trained longer; eta of the papers.
        objective: What is searched for.
        validation_share: Share of the training side's patients that is held out of training.
        reward_split: Frames that the reward is measured on.
        seed: Of the split, the proposals and every training.
        parallel: Trials at once; 0 takes as many as the trainer has workers.
        limits: What one trial may use.
        warm_start: Id of an earlier search whose results the proposals build on; "" for none.
        encoder_weights: Weights that encoders start from; None trains from random ones.
    """

    space: SearchSpace
    sampler: SamplerKind = SamplerKind.TPE
    scheduler: SchedulerKind = SchedulerKind.ASHA
    trials: int = 40
    epochs: int = 27
    min_epochs: int = 1
    reduction_factor: int = 4
    objective: Objective = field(default_factory=Objective)
    validation_share: float = 0.2
    reward_split: RewardSplit = RewardSplit.VALIDATION
    seed: int = 0
    parallel: int = 0
    limits: TrialLimits = field(default_factory=TrialLimits)
    warm_start: str = ""
    encoder_weights: str | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("trials", self.trials, 1, MAX_TRIALS),
            ("epochs", self.epochs, 1, MAX_EPOCHS),
            ("min_epochs", self.min_epochs, 1, self.epochs),
            ("reduction_factor", self.reduction_factor, 2, 100),
            ("seed", self.seed, 0, 2**63 - 1),
            ("parallel", self.parallel, 0, 1000),
        ):
            if not low <= value <= high:
                raise InvalidSpecification(f"{name} is {value}; it must be {low} to {high}")
        if not 0.0 < self.validation_share < 1.0:
            raise InvalidSpecification(
                f"validation_share is {self.validation_share}; it must be above 0 and below 1"
            )


def telling_epochs(plan: SearchPlan, n_frames: int) -> int:
    """Return the `min_epochs` that suit so many training frames.

    As many as 80 optimizer steps with the smallest batch take, but no more than leave a rung above:
    a search of few frames would otherwise train everything to the end.
    """
    steps = max(1, math.ceil(n_frames / min(plan.space.batch_sizes)))
    most = max(1, plan.epochs // plan.reduction_factor)
    return min(max(1, round(_TELLING_STEPS / steps)), most)

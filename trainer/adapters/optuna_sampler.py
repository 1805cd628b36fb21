"""Proposals by Optuna's tree-structured Parzen estimator, and uniform ones."""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from trainer.adapters.optuna_space import OptunaSpace
from trainer.domain.search.catalog import find_encoder
from trainer.domain.search.forecasts import Forecast
from trainer.domain.search.plan import SamplerKind, SearchPlan
from trainer.domain.search.ranking import cost_of, within_limits
from trainer.domain.search.space import Configuration, SearchSpace
from trainer.domain.search.trials import Trial, TrialState

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

__all__ = ["OptunaSampler", "startup_trials"]

_MOST_STARTUP_TRIALS = 8
_CONFIGURATIONS_A_STARTUP_TRIAL = 4
_CANDIDATES = 256
"""Uniform candidates among which a startup trial is chosen."""
_QUESTIONS = 32
"""Proposals that may be tried already, or no valid pair, before a uniform one is taken."""


def startup_trials(space: SearchSpace) -> int:
    """Return how many balanced proposals come first: few, and fewer in a small space."""
    return max(1, min(_MOST_STARTUP_TRIALS, len(space) // _CONFIGURATIONS_A_STARTUP_TRIAL))


class OptunaSampler:
    """`trainer.searches.ports.Sampler`.

    Keeps nothing: every proposal asks a study in memory that is made of the trials. The estimator
    (Bergstra et al., NeurIPS 2011) models parameters jointly and takes trials under way for bad
    ones, so that what runs at the same time differs (Watanabe, arXiv:2304.11127). Optuna has no
    distances between categories any more, so encoders, learning rates and batch sizes are given to
    it in coordinates (`OptunaSpace`).
    """

    def propose(
        self, plan: SearchPlan, trials: Sequence[Trial], earlier: Sequence[Trial]
    ) -> Configuration | None:
        """See `Sampler.propose`.

        The best configuration of the earlier search comes first. Proposals at random are those of
        the space's own sample, in its order, so that they do not depend on results.
        """
        tried = {trial.configuration for trial in trials}
        candidate = _best_of(earlier)
        if candidate in plan.space and candidate not in tried:
            return candidate
        return _SAMPLERS[plan.sampler](plan, trials, earlier, tried)


def _uniform(
    plan: SearchPlan,
    trials: Sequence[Trial],
    earlier: Sequence[Trial],
    tried: Collection[Configuration],
) -> Configuration | None:
    # Among one more than was tried, one is new.
    sample = plan.space.sample(len(tried) + 1, plan.seed)
    return next((candidate for candidate in sample if candidate not in tried), None)


def _balanced(plan: SearchPlan, tried: Collection[Configuration]) -> Configuration | None:
    """Return a configuration whose parts were tried least, so that a few trials show a bit of all.

    Results have no say in it. On synthetic curves like those of CAMUS, eight such trials instead of
    uniform ones took a third off the epochs until the best network was found.
    """
    uses = Counter(part for configuration in tried for part in _parts(configuration))
    sample = plan.space.sample(len(tried) + _CANDIDATES, plan.seed)
    return min(
        (candidate for candidate in sample if candidate not in tried),
        key=lambda candidate: sum(uses[part] for part in _parts(candidate)),
        default=None,
    )


def _parts(configuration: Configuration) -> tuple[Hashable, ...]:
    decoder, encoder = configuration.decoder, configuration.encoder
    learning_rate = configuration.learning_rate
    return (
        ("decoder", decoder),
        ("family", find_encoder(encoder).family),
        ("encoder", encoder),
        ("learning rate", learning_rate),
        ("batch size", configuration.batch_size),
        ("pair", decoder, encoder),
        # How fast a network learns hangs on these two together.
        ("pace", decoder, learning_rate),
    )


def _parzen(
    plan: SearchPlan,
    trials: Sequence[Trial],
    earlier: Sequence[Trial],
    tried: Collection[Configuration],
) -> Configuration | None:
    known = [
        trial
        for trial in earlier
        if trial.configuration in plan.space and trial.configuration not in tried
    ]
    observed = [*known, *trials]
    if len(observed) < startup_trials(plan.space):
        return _balanced(plan, tried)
    if len(tried) == len(plan.space):
        return None
    space = OptunaSpace(plan.space)
    study = _study(plan, space, observed, seed=_seed(plan, len(trials)))
    if study is not None:
        for _ in range(_QUESTIONS):
            candidate = space.decode(study.ask(space.distributions).params)
            if candidate is not None and candidate not in tried:
                return candidate
    return _uniform(plan, trials, earlier, tried)


_SAMPLERS: Mapping[
    SamplerKind,
    Callable[
        [SearchPlan, Sequence[Trial], Sequence[Trial], Collection[Configuration]],
        Configuration | None,
    ],
] = MappingProxyType({SamplerKind.RANDOM: _uniform, SamplerKind.TPE: _parzen})


def _best_of(earlier: Sequence[Trial]) -> Configuration | None:
    complete = [trial for trial in earlier if trial.state is TrialState.COMPLETE]
    best = max(complete, key=lambda trial: (trial.iou or 0.0, -trial.number), default=None)
    return None if best is None else best.configuration


def _seed(plan: SearchPlan, proposal: int) -> int:
    return int(np.random.SeedSequence([plan.seed, proposal]).generate_state(1)[0])


def _study(
    plan: SearchPlan, space: OptunaSpace, observed: Sequence[Trial], seed: int
) -> "Study | None":
    """Return a study of what is known; None while not a single trial has shown anything."""
    import optuna  # noqa: PLC0415  # a second, only for who searches
    from optuna.study import StudyDirection as Direction  # noqa: PLC0415

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    forecast = Forecast(plan, observed)
    frozen = [_frozen(plan, space, trial, forecast) for trial in observed]
    if not any(trial.state is optuna.trial.TrialState.COMPLETE for trial in frozen):
        return None
    study = optuna.create_study(
        directions=[Direction.MAXIMIZE, *(Direction.MINIMIZE for _ in plan.objective.pareto)],
        sampler=optuna.samplers.TPESampler(
            n_startup_trials=0, seed=seed, multivariate=True, constant_liar=True
        ),
    )
    study.add_trials(frozen)
    return study


def _frozen(
    plan: SearchPlan, space: OptunaSpace, trial: Trial, forecast: Forecast
) -> "FrozenTrial":
    """Return a trial as Optuna sees it.

    One that reached a rung is an observation, even while it goes on: as a trial under way it would
    count as a bad one, and only good ones are trained that long. One that ended before, or breaks a
    limit, is pruned without a value, which is the worst.
    """
    from optuna.trial import TrialState as State  # noqa: PLC0415
    from optuna.trial import create_trial  # noqa: PLC0415

    parameters = space.encode(trial.configuration)
    values = _values(plan, trial, forecast)
    if trial.state is not TrialState.FAILED and within_limits(trial, plan.objective) and values:
        state = State.COMPLETE
    else:
        state, values = (
            State.RUNNING if trial.state is TrialState.ACTIVE else State.PRUNED,
            None,
        )
    return create_trial(
        state=state, values=values, params=parameters, distributions=space.distributions
    )


def _values(plan: SearchPlan, trial: Trial, forecast: Forecast) -> list[float] | None:
    """Return the IoU that a trial may end with, and its costs; None while one is unknown."""
    values = [forecast.of(trial), *(cost_of(trial, cost) for cost in plan.objective.pareto)]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else None

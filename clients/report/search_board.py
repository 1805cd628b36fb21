"""The leaderboard of a search: every trial once, ranked where ranks mean something."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from clients.jsonable import enum_word
from clients.report.search_facts import Winners, best_first, reward
from echoloop.v1 import trainer_pb2 as pb

__all__ = ["Entry", "Group", "leaderboard", "ranked"]

_OUTPERFORMED: Final = "OUTPERFORMED"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the leaderboard.

    Attributes:
        trial: What it shows.
        rank: From 1; None for a trial that cannot be compared.
        state: How it stands, for people.
        why: Why it was pruned or failed, for people; empty when the state says it all.
        marks: What it won.
    """

    trial: pb.Trial
    rank: int | None
    state: str
    why: str
    marks: Sequence[str]

    @property
    def batch(self) -> str:
        """The batch size; `16 → 4` where the proposed one did not fit into memory."""
        proposed, trained = self.trial.batch_size, self.trial.trained_batch_size
        return f"{proposed} → {trained}" if 0 < trained < proposed else str(proposed)


@dataclass(frozen=True, slots=True)
class Group:
    """Trials that ended, or stand, alike.

    Attributes:
        title: Of the group.
        entries: Best first.
    """

    title: str
    entries: Sequence[Entry]


def leaderboard(job: pb.Job, trials: Sequence[pb.Trial], winners: Winners) -> list[Group]:
    """Return the groups that have trials, best first.

    Ranks go on from group to group. Only the complete trials had the same training, so they come
    first; of the others, who was trained longer had won against more. Trials that diverged, break
    a limit or could not be trained have no rank.
    """
    marks = _marks(job, winners)
    groups: list[Group] = []
    rank = 0
    for title, comparable, members in _grouped(trials):
        entries: list[Entry] = []
        for trial in members:
            has_rank = comparable and reward(trial) is not None
            rank += has_rank
            entries.append(
                Entry(
                    trial=trial,
                    rank=rank if has_rank else None,
                    state=_state(trial),
                    why=_why(trial),
                    marks=marks.get(trial.number, ()),
                )
            )
        if entries:
            groups.append(Group(title, entries))
    return groups


def ranked(groups: Sequence[Group]) -> list[Entry]:
    """Return the entries with a rank, by rank."""
    return [entry for group in groups for entry in group.entries if entry.rank is not None]


def _grouped(trials: Sequence[pb.Trial]) -> list[tuple[str, bool, list[pb.Trial]]]:
    """Return title, whether its trials can be compared, and the trials of every group."""
    pruned = [trial for trial in trials if trial.state == pb.TRIAL_STATE_PRUNED]
    outperformed = [trial for trial in pruned if trial.reason == _OUTPERFORMED]
    rejected = [trial for trial in pruned if trial.reason != _OUTPERFORMED]
    failed = [trial for trial in trials if trial.state == pb.TRIAL_STATE_FAILED]
    cancelled = [trial for trial in trials if trial.state == pb.TRIAL_STATE_CANCELLED]
    complete = [trial for trial in trials if trial.state == pb.TRIAL_STATE_COMPLETE]
    ended = {id(trial) for trial in (*pruned, *failed, *cancelled, *complete)}
    going = [trial for trial in trials if id(trial) not in ended]
    return [
        ("Trained to the last epoch", True, best_first(complete)),
        ("In training, or waiting to be trained longer", True, _longest_first(going)),
        ("Stopped early: others were better", True, _longest_first(outperformed)),
        ("Cancelled with the search", True, _longest_first(cancelled)),
        ("Pruned: diverged, or beyond a limit", False, _by_number(rejected)),
        ("Failed", False, _by_number(failed)),
    ]


def _longest_first(trials: Sequence[pb.Trial]) -> list[pb.Trial]:
    # The sort is stable: within the same number of epochs the best stays first.
    return sorted(best_first(trials), key=lambda trial: (reward(trial) is None, -len(trial.epochs)))


def _by_number(trials: Sequence[pb.Trial]) -> list[pb.Trial]:
    return sorted(trials, key=lambda trial: trial.number)


def _marks(job: pb.Job, winners: Winners) -> dict[int, list[str]]:
    """Return what each trial won, by number."""
    marks: dict[int, list[str]] = {}
    for winner, mark in (
        (winners.most_accurate, "most accurate"),
        (winners.fastest, "fastest"),
    ):
        if winner is not None:
            marks.setdefault(winner.number, []).append(mark)
    if job.HasField("search"):
        for number in job.search.pareto_front:
            marks.setdefault(number, []).append("front")
    return marks


def _state(trial: pb.Trial) -> str:
    # The group's title says that it was pruned or failed; the reason is what differs.
    return _words(trial.reason or enum_word(pb.TrialState.DESCRIPTOR, trial.state))


def _why(trial: pb.Trial) -> str:
    if trial.state not in (pb.TRIAL_STATE_PRUNED, pb.TRIAL_STATE_FAILED):
        return ""
    # That others were better is what the group's title says.
    return "" if trial.reason == _OUTPERFORMED else trial.message


def _words(word: str) -> str:
    return word.lower().replace("_", " ")

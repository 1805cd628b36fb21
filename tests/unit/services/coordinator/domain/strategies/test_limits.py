from collections import Counter
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from services.coordinator.domain.strategies import Limits, Member, choose_within


def members(groups: list[tuple[int, int]]) -> list[Member]:
    return [
        Member(f"frame-{n:02d}", f"patient-{patient}", f"clip-{clip}" if clip else "")
        for n, (patient, clip) in enumerate(groups)
    ]


GROUPS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=14)
LIMITS = st.builds(Limits, st.integers(0, 3), st.integers(0, 2))


def fits(chosen: list[Member], limits: Limits) -> bool:
    patients = Counter(m.patient_id for m in chosen)
    clips = Counter((m.patient_id, m.clip_id) for m in chosen if m.clip_id)
    return (not limits.per_patient or max(patients.values(), default=0) <= limits.per_patient) and (
        not limits.per_clip or max(clips.values(), default=0) <= limits.per_clip
    )


@given(GROUPS, st.integers(0, 20), LIMITS)
def test_a_batch_is_never_smaller_for_its_limits(
    groups: list[tuple[int, int]], k: int, limits: Limits
) -> None:
    chosen = choose_within(members(groups), k, limits)
    assert len(chosen) == len(set(chosen)) == min(k, len(groups))


@given(GROUPS, st.integers(0, 20))
def test_without_limits_it_is_the_beginning_of_the_ranking(
    groups: list[tuple[int, int]], k: int
) -> None:
    ranked = members(groups)
    assert choose_within(ranked, k, Limits()) == tuple(m.frame_id for m in ranked[:k])


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2)), max_size=8), st.integers(1, 4))
def test_where_the_limits_can_be_kept_they_are_and_nothing_ranks_better(
    groups: list[tuple[int, int]], k: int
) -> None:
    limits = Limits(2, 1)
    ranked = members(groups)
    allowed = [
        {m.frame_id for m in some} for some in combinations(ranked, k) if fits(list(some), limits)
    ]
    chosen = set(choose_within(ranked, k, limits))
    if allowed:
        assert chosen in allowed
        # Values 2**-rank make one set the best, and the greedy choice finds it.
        values = {m.frame_id: 2.0**-rank for rank, m in enumerate(ranked)}
        assert chosen == max(allowed, key=lambda ids: sum(values[id] for id in ids))


def test_limits_rise_by_one_for_everybody() -> None:
    ranked = members([(0, 1)] * 6 + [(1, 1)] * 2 + [(2, 1)])
    chosen = choose_within(ranked, 6, Limits(per_patient=1))
    by_id = {m.frame_id: m.patient_id for m in ranked}
    # One each; then two each; then patient-0 alone has more.
    assert [by_id[id][-1] for id in chosen] == ["0", "1", "2", "0", "1", "0"]


def test_frames_that_the_batch_has_already_count() -> None:
    ranked = members([(0, 1), (0, 2), (1, 1)])
    taken = [Member("other", "patient-0", "clip-9")]
    assert choose_within(ranked, 1, Limits(per_patient=1), taken=taken) == ("frame-02",)


def test_an_unknown_clip_has_no_limit() -> None:
    ranked = members([(0, 0), (0, 0), (1, 1)])
    assert choose_within(ranked, 2, Limits(per_clip=1)) == ("frame-00", "frame-01")


def test_the_ranking_is_read_no_further_than_needed() -> None:
    ranked = iter(members([(0, 0), (1, 0), (2, 0)]))
    choose_within(ranked, 2, Limits(per_patient=1))
    assert next(ranked).frame_id == "frame-02"

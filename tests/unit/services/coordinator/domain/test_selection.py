from dataclasses import replace

from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.query_config import Arm, QueryStrategy
from services.coordinator.domain.selection import Choice, QueryBatch, verify_selection

TOPK = QueryStrategy.TOPK


def stored(*frame_ids: str) -> QueryBatch:
    return QueryBatch(frame_ids, AcquisitionFunction.MFE, 7, "digest", 3)


def test_an_equal_selection_verifies() -> None:
    check = verify_selection(2, stored("b", "a"), Choice(("b", "a")), scored=9, strategy=TOPK)
    assert check.verified
    assert (check.phase, check.selected, check.scored) == (2, 2, 9)
    assert (check.unexpected, check.missing) == ((), ())


def test_another_order_does_not_verify_though_no_frame_differs() -> None:
    check = verify_selection(2, stored("b", "a"), Choice(("a", "b")), scored=9, strategy=TOPK)
    assert not check.verified
    assert (check.unexpected, check.missing) == ((), ())


def test_other_frames_are_named() -> None:
    check = verify_selection(
        2, stored("b", "a", "x"), Choice(("b", "a", "y")), scored=9, strategy=TOPK
    )
    assert (check.unexpected, check.missing) == (("x",), ("y",))


def test_another_arm_does_not_verify_though_no_frame_differs() -> None:
    batch = replace(stored("b", "a"), control=frozenset({"a"}))
    assert [batch.arm(frame_id) for frame_id in batch.frame_ids] == [Arm.ACTIVE, Arm.CONTROL]
    same = verify_selection(2, batch, Choice(("b", "a"), frozenset({"a"})), scored=9, strategy=TOPK)
    assert (same.verified, same.control) == (True, 1)
    for control in ({"b"}, {"a", "b"}, set[str]()):
        other = Choice(("b", "a"), frozenset(control))
        assert not verify_selection(2, batch, other, scored=9, strategy=TOPK).verified


def test_contradicting_evidence_does_not_verify() -> None:
    again = Choice(("b", "a"))
    check = verify_selection(
        2, stored("b", "a"), again, scored=9, strategy=TOPK, evidence_agrees=False
    )
    assert not check.verified


def test_the_strategy_is_told_where_one_was_used() -> None:
    again = Choice(("b", "a"))
    random = replace(stored("b", "a"), acquisition=AcquisitionFunction.RANDOM)
    assert verify_selection(2, stored("b", "a"), again, scored=9, strategy=TOPK).strategy is TOPK
    assert verify_selection(2, random, again, scored=9, strategy=TOPK).strategy is None
    assert verify_selection(0, stored("b", "a"), again, scored=9, strategy=TOPK).strategy is None

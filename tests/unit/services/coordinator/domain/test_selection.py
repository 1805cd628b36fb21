from services.coordinator.domain.acquisition import AcquisitionFunction
from services.coordinator.domain.selection import QueryBatch, verify_selection


def stored(*frame_ids: str) -> QueryBatch:
    return QueryBatch(frame_ids, AcquisitionFunction.MFE, 7, "digest", 3)


def test_an_equal_selection_verifies() -> None:
    check = verify_selection(2, stored("b", "a"), ["b", "a"], scored=9)
    assert check.verified
    assert (check.phase, check.selected, check.scored) == (2, 2, 9)
    assert (check.unexpected, check.missing) == ((), ())


def test_another_order_does_not_verify_though_no_frame_differs() -> None:
    check = verify_selection(2, stored("b", "a"), ["a", "b"], scored=9)
    assert not check.verified
    assert (check.unexpected, check.missing) == ((), ())


def test_other_frames_are_named() -> None:
    check = verify_selection(2, stored("b", "a", "x"), ["b", "a", "y"], scored=9)
    assert (check.unexpected, check.missing) == (("x",), ("y",))

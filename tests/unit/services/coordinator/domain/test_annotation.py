import itertools
from datetime import UTC, datetime, timedelta

import pytest

from services.coordinator.domain.annotation import (
    AnnotationState,
    check_held,
    check_request_move,
    grant,
)
from services.coordinator.domain.errors import IllegalTransition, LeaseExpired, LeaseLost
from services.platform.errors import StaleError

S = AnnotationState
NOW = datetime(2030, 1, 1, tzinfo=UTC)
LEASE = grant("ana", last_token=4, now=NOW, lease_s=60)
LEGAL = {
    (S.PENDING, S.LEASED),
    (S.LEASED, S.PENDING),
    (S.LEASED, S.SUBMITTED),
    (S.LEASED, S.SKIPPED),
    (S.SUBMITTED, S.ACCEPTED),
}


@pytest.mark.parametrize(("from_state", "to_state"), list(itertools.product(S, S)))
def test_exactly_the_moves_of_the_design_are_legal(from_state: S, to_state: S) -> None:
    if (from_state, to_state) in LEGAL:
        check_request_move(from_state, to_state)
    else:
        with pytest.raises(IllegalTransition):
            check_request_move(from_state, to_state)


def test_a_lease_has_a_larger_token_and_ends_after_its_length() -> None:
    assert (LEASE.token, LEASE.expire_time) == (5, NOW + timedelta(seconds=60))


def test_a_live_lease_is_held_until_the_instant_it_ends() -> None:
    last = LEASE.expire_time - timedelta(microseconds=1)
    assert check_held(S.LEASED, LEASE, reader="ana", token=5, now=last) is LEASE
    with pytest.raises(LeaseExpired):
        check_held(S.LEASED, LEASE, reader="ana", token=5, now=LEASE.expire_time)


@pytest.mark.parametrize(("reader", "token"), [("ben", 5), ("ana", 4), ("ana", 6), ("", 0)])
def test_another_reader_or_token_has_lost_it(reader: str, token: int) -> None:
    with pytest.raises(LeaseLost):
        check_held(S.LEASED, LEASE, reader=reader, token=token, now=NOW)


@pytest.mark.parametrize("state", [state for state in S if state is not S.LEASED])
def test_a_request_that_is_not_leased_is_held_by_nobody(state: S) -> None:
    with pytest.raises(LeaseLost):
        check_held(state, None, reader="ana", token=5, now=NOW)


def test_lost_and_expired_leases_are_told_apart_by_reason() -> None:
    assert {LeaseLost.reason, LeaseExpired.reason} == {"LEASE_LOST", "LEASE_EXPIRED"}
    assert issubclass(LeaseLost, StaleError)
    assert issubclass(LeaseExpired, StaleError)

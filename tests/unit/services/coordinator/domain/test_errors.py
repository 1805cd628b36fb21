import pytest

from services.coordinator.domain import errors
from services.platform.rpc_errors import status_of


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_of_the_coordinator_has_a_status(name: str) -> None:
    assert status_of(getattr(errors, name))

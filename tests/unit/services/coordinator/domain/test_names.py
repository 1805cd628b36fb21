import pytest

from services.coordinator.domain.errors import InvalidName
from services.coordinator.domain.names import check_name


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "0", "x" * 100])
def test_names_are_letters_digits_and_three_signs(name: str) -> None:
    assert check_name("data set", name) == name


@pytest.mark.parametrize("name", ["", "-a", ".hidden", "a b", "a/b", "ä", "a\n", "x" * 101])
def test_other_names_are_refused_with_the_rule(name: str) -> None:
    with pytest.raises(InvalidName, match=r"^A data set name has 1 to 100"):
        check_name("data set", name)

"""What a method declares about its networks."""

from __future__ import annotations

import pytest

from uir.config.roles import BOTH, Role


@pytest.mark.parametrize(
    ("required_in", "train", "test", "unknown"),
    [
        (BOTH, True, True, True),
        (frozenset({"train"}), True, False, False),
        (frozenset({"test"}), False, True, False),
        (frozenset(), False, False, False),
    ],
)
def test_a_network_is_required_in_the_phases_that_it_says(
    required_in: frozenset[str], train: bool, test: bool, unknown: bool
) -> None:
    role = Role(required_in=frozenset(required_in))  # type: ignore[arg-type]
    assert [role.is_required(phase) for phase in (True, False, None)] == [train, test, unknown]

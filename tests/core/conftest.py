"""What the tests of this folder share."""

import pytest

from uir import compat


@pytest.fixture
def basicsr():
    """The package basicsr with all that it imports, as the reference; skips where it is not installed."""
    compat.prepare()
    return pytest.importorskip("basicsr", reason="basicsr is not installed")

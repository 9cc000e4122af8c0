"""The schemas that the tests of this folder read, each made once for a file of tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from uir.config.json_schema import option_schema
from uir.registry import REGISTRIES


@pytest.fixture(scope="module", autouse=True)
def _own_classes() -> Iterator[None]:
    """No plug-in is registered, whatever other tests of the process have registered."""
    with pytest.MonkeyPatch.context() as patch:
        for registry in REGISTRIES.values():
            patch.setitem(registry._objects, "plugin", {})
        yield


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return option_schema()


@pytest.fixture(scope="module")
def single() -> dict[str, Any]:
    """The schema of one method's files alone."""
    return option_schema("SRModel")

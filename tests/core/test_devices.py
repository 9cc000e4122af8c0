"""Devices by the names that a user types."""

from __future__ import annotations

import pytest
import torch

from uir.core.devices import device_named, pick_device


def test_devices_of_every_machine() -> None:
    assert device_named("cpu") == torch.device("cpu")
    assert device_named(None) == pick_device("auto")


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "", "mps:3", "cuda:x"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"device '{name}': "):
        device_named(name)

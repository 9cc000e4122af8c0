"""VGG weights for tests, drawn at random: nothing is downloaded."""

import pytest
import torch


@pytest.fixture(scope="session")
def vgg11_weights(tmp_path_factory):
    """A file in torchvision's form that holds the first convolution of vgg11, and a classifier to be ignored."""
    generator = torch.Generator().manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg11.pth"
    stored = {
        "features.0.weight": torch.randn(64, 3, 3, 3, generator=generator) / 27**0.5,
        "features.0.bias": 0.1 * torch.randn(64, generator=generator),
        "classifier.0.weight": torch.zeros(2, 2),
    }
    torch.save(stored, path)
    return path

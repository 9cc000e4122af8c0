"""Small random trunks for the metrics that need one: of the published shapes and names, with seeded weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from uir import compat
from uir.core.images import read_rgb

TORCHVISION = {
    "alexnet": "alexnet", "vgg16": "vgg16", "vgg19": "vgg19", "squeezenet": "squeezenet1_1",
    "inception": "inception_v3",
}  # fmt: skip


def random_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """Seeded weights for a network on the meta device whose features neither vanish nor explode; in half precision."""
    generator, state = torch.Generator().manual_seed(0), {}
    for name, empty in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        tensor = torch.empty(empty.shape)
        if empty.ndim > 1:
            tensor.normal_(0, (2 / empty[0].numel()) ** 0.5, generator=generator)
        elif name.endswith(("running_var", "bn.weight")):
            tensor.uniform_(0.8, 1.2, generator=generator)
        else:
            tensor.normal_(0, 0.1, generator=generator)
        state[name] = tensor.half()
    return state


@pytest.fixture(scope="session")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes torchvision's network of a name (`inception`: FID's) with random weights, once; gives the file."""
    folder, made = tmp_path_factory.mktemp("trunks"), {}

    def write(name: str) -> Path:
        if name not in made:
            compat.prepare()
            models = pytest.importorskip("torchvision.models")
            arguments: dict[str, Any] = {"num_classes": 1008, "init_weights": False, "aux_logits": False}
            with torch.device("meta"):
                network = getattr(models, TORCHVISION[name])(**(arguments if name == "inception" else {}))
            for part in ("classifier", "avgpool"):
                if hasattr(network, part):
                    delattr(network, part)
            made[name] = folder / f"{name}.pth"
            torch.save(random_state(network), made[name])
        return made[name]

    return write


@pytest.fixture(scope="session")
def photograph(photographs: list[Path]) -> torch.Tensor:
    """A photograph of a cup of coffee: RGB [3, 400, 600] in [0, 1]."""
    levels = read_rgb(next(path for path in photographs if path.stem == "coffee"))
    return torch.from_numpy(levels).movedim(-1, 0)

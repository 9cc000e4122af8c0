"""Networks of spandrel, the loader of chaiNNer: any checkpoint that it knows, as a backbone of uir."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from uir import compat
from uir.core.checkpoint import CheckpointError, read_weights
from uir.layers.features import FeaturePoint
from uir.layers.padding import crop
from uir.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class SpandrelNet(nn.Module):
    """The network of a checkpoint that spandrel knows, with its weights. Input and output [B, C, H, W] in [0, 1].

    spandrel finds the architecture by the keys and shapes of the weights. uir reads the file itself, so that nothing
    but tensors is unpickled.

    Args:
        file: the checkpoint.

    Raises:
        CheckpointError: spandrel is not installed, does not know the network, or the network takes no image alone.
    """

    loads_itself: ClassVar[bool] = True
    """The constructor loads the weights; there is nothing to load afterwards."""

    def __init__(self, file: str | Path) -> None:
        super().__init__()
        described = described_by_spandrel(Path(file))
        self.model: nn.Module = described.model
        self.scale: int = described.scale
        self.in_channels: int = described.input_channels
        self._described = described

    @property
    def pad_multiple(self) -> int:
        """Height and width of a batch should be multiples of this; other sizes are padded inside."""
        multiple: int = self._described.size_requirements.multiple_of
        return multiple

    def feature_points(self) -> list[FeaturePoint]:
        """None: spandrel's networks declare no features."""
        return []

    def forward(self, lq: Tensor) -> Tensor:
        """Restore a batch of any size, [B, C, H, W] to [B, C, H·scale, W·scale]."""
        right, bottom = self._described.size_requirements.get_padding(lq.shape[-1], lq.shape[-2])
        padded = F.pad(lq, (0, right, 0, bottom), mode="replicate")
        restored: Tensor = self._described._call_fn(self.model, padded)  # its public call allows no gradients
        return crop(restored, lq.shape[-2] * self.scale, lq.shape[-1] * self.scale)


def described_by_spandrel(file: Path) -> Any:
    """spandrel's description of the network in a file, with the network.

    Raises:
        CheckpointError: as for `SpandrelNet`.
    """
    state, _ = read_weights(file)
    compat.prepare()
    try:
        import spandrel
    except ImportError:
        needs = "needs spandrel, which knows many published networks: pip install 'uir[spandrel]'"
        raise CheckpointError(f"{file}: {needs}") from None
    try:
        described = spandrel.ModelLoader().load_from_state_dict(state)
    except Exception:  # of some weights it takes a network for another one, and then fails to load them
        raise CheckpointError(f"{file}: spandrel knows no network with these weights") from None
    channels = described.input_channels, described.output_channels
    if not isinstance(described, spandrel.ImageModelDescriptor) or channels not in ((1, 1), (3, 3)):
        name = described.architecture.name
        raise CheckpointError(f"{file}: {name} takes {channels[0]} channels and gives {channels[1]}; expected 3, or 1")
    return described

"""How many channels a network's image has: three for colour, one for grey."""

from __future__ import annotations

from torch import Tensor, nn


def image_channels(network: nn.Module) -> int | None:
    """The channels of a network's input: its `in_channels` where it declares that, else those of its first convolution.

    None where there is no convolution; such a network takes what it is given.
    """
    declared = getattr(network, "in_channels", None)
    if isinstance(declared, int):
        return declared
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    return None if first is None else first.in_channels


def check_channels(network: nn.Module, images: Tensor) -> None:
    """Refuse colour images for a network of one channel, and grey ones for a network of three.

    Args:
        network: of any kind; only those of one and of three channels are checked.
        images: [..., C, H, W].

    Raises:
        ValueError: the channels differ.
    """
    takes, given = image_channels(network), images.shape[-3]
    name = type(network).__name__
    if takes == 1 and given == 3:
        raise ValueError(
            f"network_g: {name} takes images of one channel, and the dataset gives colour; give the dataset "
            "`color: grey` (or y, the luma)"
        )
    if takes == 3 and given == 1:
        raise ValueError(
            f"network_g: {name} takes colour images, and the dataset gives one channel; leave out the dataset's "
            "`color`, or build the network for one channel (img_channel, inp_channels or in_chans: 1)"
        )

"""Weights of published networks whose features judge images. They are read from local files and never downloaded."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from uir.core.files import home_expanded
from uir.core.weight_files import read_plain


def local_weights(
    network: str, file_name: str, url: str, weights: str | os.PathLike[str] | None = None, option: str = "weights"
) -> Path:
    """The file of a network's weights.

    Args:
        network: the network, for messages.
        file_name: the name under which the file is published.
        url: where it is published.
        weights: the file that an option names; by default torch's cache and then `experiments/pretrained_models` in
            the current folder are searched for `file_name`.
        option: the option's name.

    Raises:
        FileNotFoundError: it is not there; the message says which file belongs where, and where it is published.
    """
    if weights is not None:
        path = home_expanded(Path(weights))
        if not path.is_file():
            raise FileNotFoundError(f"{option}: there is no file {path}; expected {network}'s {file_name}, from {url}")
        return path
    folders = [Path(torch.hub.get_dir()) / "checkpoints", Path("experiments/pretrained_models").absolute()]
    for folder in folders:
        if (folder / file_name).is_file():
            return folder / file_name
    raise FileNotFoundError(
        f"{network} needs its published weights, and uir downloads nothing by itself: put {url} into {folders[0]} or "
        f"{folders[1]}, or name the file with `{option}:` in its options"
    )


def read_trunk(
    path: Path, network: str, shapes: Iterable[tuple[str, Tensor]], option: str = "weights"
) -> dict[str, Tensor]:
    """The tensors of a network, in float32, from a `.pth` or `.safetensors` file that may hold further ones.

    Args:
        path: the file, a plain state dict.
        network: the network, for messages.
        shapes: the names that the file has to have, and tensors of their shapes.
        option: the option's name.

    Raises:
        CheckpointError: the file is damaged, or contains more than plain data.
        ValueError: a tensor is missing, or has another shape.
    """
    stored, state = read_plain(path), {}
    wanted = dict(shapes)
    missing = [name for name in wanted if not isinstance(stored.get(name), Tensor)]
    if missing:
        raise ValueError(
            f"{option}: {path} does not contain {network}: it lacks {', '.join(missing[:3])}"
            f"{f' and {len(missing) - 3} more' if len(missing) > 3 else ''}"
        )
    for name, expected in wanted.items():
        tensor = stored[name]
        if tensor.shape != expected.shape:
            raise ValueError(
                f"{option}: {path} does not contain {network}: {name} has the shape {list(tensor.shape)}, expected "
                f"{list(expected.shape)}"
            )
        state[name] = tensor.float() if tensor.is_floating_point() else tensor
    return state

"""Builds a training method from a checked option file."""

from __future__ import annotations

from typing import Any

import torch

from uir.compat.foreign_model import ForeignModel, naming_cuda, resume_paths
from uir.config.options import OptionFile, basicsr_dictionary
from uir.core.distributed import rank_and_world
from uir.registry import MODEL_REGISTRY
from uir.registry.components import signature_of


def build_model(loaded: OptionFile, device: torch.device, resume_iter: int | None = None, dataset: Any = None) -> Any:
    """The training method of an option file, with its networks.

    A class written like BasicSR's receives a dictionary; uir's classes receive keyword arguments.

    Args:
        resume_iter: the iteration that a resumed BasicSR model continues from; it loads its networks while it is built.
        dataset: the training set; the method gets its `labels` and `gives` (names of the values in its batches).
    """
    options = loaded.options
    target = MODEL_REGISTRY.get(options.model_type)
    if signature_of(target).takes_opt:
        rank, world = rank_and_world()
        num_gpu = int(device.type == "cuda")  # a process uses one GPU; with more, BasicSR would split its batches
        opt = basicsr_dictionary(loaded, num_gpu=num_gpu, rank=rank, world_size=world)
        if resume_iter is not None:
            resume_paths(opt, resume_iter)
        with naming_cuda(target.__name__):
            return ForeignModel(target(opt))
    networks = {role: getattr(options, f"network_{role}", None) for role in target.network_roles}
    return target(
        networks={role: component for role, component in networks.items() if component is not None},
        path=options.path,
        train=options.train if loaded.is_train else None,
        file=options,
        scale=options.scale,
        precision=options.precision,
        compile=options.compile,
        channels_last=options.channels_last,
        grad_clip=options.grad_clip,
        find_unused_parameters=options.find_unused_parameters,
        device=device,
        labels=tuple(getattr(dataset, "labels", ())),
        batch_values=tuple(getattr(dataset, "gives", ())),
    )

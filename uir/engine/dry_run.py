"""`uir train --dry_run`: everything is built and one step is run, but nothing is written."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import torch
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from uir.compat.foreign_model import ForeignModel
from uir.config.options import OptionFile, Stage
from uir.core.devices import pick_device
from uir.core.distributed import is_main
from uir.core.progress import console
from uir.data.building import evaluation_loaders, training_stream
from uir.data.stream import BatchStream
from uir.degradations.record import RecordBatch
from uir.engine.run import seed_everything
from uir.engine.run_folder import check_start
from uir.engine.state import find_state
from uir.inference.macs import count_macs
from uir.models.base_model import BaseModel
from uir.models.building import build_model


def dry_run(loaded: OptionFile, as_json: bool = False, auto_resume: bool = False) -> list[dict[str, Any]]:
    """Build every stage, run one step of each, and print its costs and the files that a real run would write.

    Args:
        loaded: the checked file.
        as_json: print JSON instead of tables.
        auto_resume: whether the real run would continue from its newest state.

    Returns:
        One description for each stage.

    Raises:
        ValueError: what a real run would be refused for, by its folder or its data.
    """
    check_start(loaded, find_state(loaded, auto_resume).file)
    stages = loaded.stages or (Stage("", loaded),)
    descriptions = [describe_stage(stage) for stage in stages]
    if not is_main():
        return descriptions
    if as_json:
        print(json.dumps(descriptions, indent=2))
        return descriptions
    for described in descriptions:
        console.print(_table(described))
    return descriptions


def describe_stage(stage: Stage) -> dict[str, Any]:
    """Build a stage, run one step, and describe both."""
    options = stage.file.options
    device = pick_device(options.num_gpu)
    stream = training_stream(stage.file)
    validation = evaluation_loaders(stage.file)
    seed_everything(stage.file.seed)
    model: BaseModel | ForeignModel = build_model(stage.file, device, None, stream.sampler.dataset)
    batch = stream.next()
    began = time.perf_counter()
    model.update_learning_rate(1)
    model.feed_data(batch)
    model.optimize_parameters(1)
    losses = model.get_current_log()
    seconds = time.perf_counter() - began
    return {
        "stage": stage.name or options.name,
        "method": options.model_type,
        "device": str(device),
        "networks": _networks(model, batch),
        "losses": losses,
        "first_step_seconds": seconds,
        "peak_memory_mib": peak_memory(device),
        "training": _training(stage, stream),
        "validation": {name: len(loader.dataset) for name, loader in validation.items()},  # type: ignore[arg-type]
        "writes": _writes(stage),
    }


def _networks(model: BaseModel | ForeignModel, batch: Any) -> dict[str, dict[str, Any]]:
    networks: dict[str, dict[str, Any]] = {}
    for role in model.roles():
        network: Any = model.bare[role] if isinstance(model, BaseModel) else getattr(model.model, f"net_{role}", None)
        if isinstance(network, nn.Module):
            described: dict[str, Any] = {
                "class": type(network).__name__,
                "parameters": sum(p.numel() for p in network.parameters()),
                "trained": sum(p.numel() for p in network.parameters() if p.requires_grad),
            }
            if role == "g":
                described["input"] = list(batch["lq"].shape[1:])
                records = batch.get("degradation")
                described["macs"] = macs(model, batch["lq"][:1], None if records is None else records[:1])
            networks[f"network_{role}"] = described
    return networks


def macs(model: BaseModel | ForeignModel, image: torch.Tensor, records: RecordBatch | None = None) -> int:
    """Multiply-accumulate operations to restore one image: convolutions and matrix products.

    Args:
        model: the method.
        image: [1, 3, h, w].
        records: what was done to it, for a method that restores by it.
    """
    if isinstance(model, ForeignModel):
        return count_macs(model.model.net_g, image.to(next(model.model.net_g.parameters()).device))
    counter = FlopCounterMode(display=False)
    with counter:
        model.restore(image, degradation=records)
    return counter.get_total_flops() // 2


def peak_memory(device: torch.device) -> float:
    """Largest memory use so far in MiB: of the GPU, or of this process; not a number if the system does not give it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _training(stage: Stage, stream: BatchStream) -> dict[str, Any]:
    options = stage.file.options
    accumulate = options.train.accumulate if options.train else 1
    iterations = options.train.total_iter if options.train else 0
    dataset = stream.sampler.dataset
    shares = getattr(dataset, "shares", None)
    per_epoch = len(stream.sampler)
    return {
        "images": len(dataset),  # type: ignore[arg-type]
        "images_per_epoch": per_epoch * stream.sampler.batch_size,
        "iterations": iterations,
        "batch": stream.sampler.batch_size * accumulate,
        "epochs": math.ceil(iterations * accumulate / per_epoch),
        "shares": shares() if shares is not None else {},
    }


def _writes(stage: Stage) -> dict[str, str]:
    """The files of a real run, and their folders."""
    run, options = stage.file.run_dir, stage.file.options
    frequency = options.logger.save_checkpoint_freq
    written = {
        "networks": f"{run / 'models'} (every {frequency} iterations, and latest)",
        "states": f"{run / 'training_states'} (every {frequency} iterations)",
        "log and numbers": f"{run} (train_{options.name}_*.log, metrics.jsonl, options.yml, run.json)",
    }
    if options.val is not None and options.val.save_img:
        written["pictures"] = str(run / "visualization")
    if options.logger.use_tb_logger:
        written["TensorBoard events"] = str(stage.file.root / "tb_logger" / options.name)
    if run.exists() and any(run.iterdir()):
        written["an earlier run"] = f"{run} would be kept as {run.name}_archived_<time>; --auto_resume continues it"
    return written


def _table(described: dict[str, Any]) -> Table:
    table = Table(title=f"Dry run: {described['stage']}", show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # a path must stay complete
    table.add_row("method", f"{described['method']} on {described['device']}")
    for name, network in described["networks"].items():
        text = f"{network['class']}, {network['parameters']:,d} parameters ({network['trained']:,d} trained)"
        if "macs" in network:
            text += f", {network['macs'] / 1e9:.3f} GMACs for one image {network['input']}"
        table.add_row(name, text)
    table.add_row("losses of one step", " ".join(f"{name} {value:.4f}" for name, value in described["losses"].items()))
    table.add_row(
        "first step, peak memory", f"{described['first_step_seconds']:.2f} s, {described['peak_memory_mib']:.0f} MiB"
    )
    training = described["training"]
    table.add_row("training images", f"{training['images']:,d}; {training['images_per_epoch']:,d} an epoch")
    table.add_row(
        "iterations", f"{training['iterations']:,d} of {training['batch']} images: {training['epochs']:,d} epochs"
    )
    if training["shares"]:
        table.add_row("tasks", ", ".join(f"{name} {share:.1%}" for name, share in training["shares"].items()))
    for name, count in described["validation"].items():
        table.add_row(f"validation: {name}", f"{count:,d} images")
    for name, place in described["writes"].items():
        table.add_row(f"would write: {name}", place)
    return table

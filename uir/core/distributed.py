"""Several processes: their ranks, how they are started, and the exchange of values between them."""

from __future__ import annotations

import gc
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("uir")
_started = False


def rank_and_world() -> tuple[int, int]:
    """Rank of this process and number of processes; (0, 1) if no launcher was used."""
    if not _started:
        return 0, 1
    import torch.distributed as dist

    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def is_main() -> bool:
    """Whether this process writes files and logs."""
    return rank_and_world()[0] == 0


def local_rank() -> int:
    """Rank among the processes of this machine; this is also the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0))


def launcher_of(launcher: str) -> str:
    """`pytorch` if torchrun started this process, else the value of the command line."""
    launched_by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ or {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= set(
        os.environ
    )
    return "pytorch" if launcher == "none" and launched_by_torchrun else launcher


@contextmanager
def processes(
    launcher: str, device_type: str | None = None, backend: str | None = None, port: int | None = None
) -> Iterator[None]:
    """Join the other processes for the duration of a block.

    Args:
        launcher: `none`, `pytorch` (torchrun's environment) or `slurm`.
        device_type: device type of the computation; NCCL is used only with `cuda`.
        backend: a backend to use instead.
        port: port of the first process, with `slurm`; torchrun has chosen one.

    An error in the block is printed with this process's rank; torchrun then stops the others.

    Raises:
        ValueError: the environment lacks the launcher's variables.
    """
    global _started
    kind = launcher_of(launcher)
    if kind == "none":
        if port is not None:
            logger.warning("dist_params.port: %d has no effect without a launcher, for there is one process", port)
        yield
        return
    import torch
    import torch.distributed as dist

    if kind == "slurm":
        os.environ.update(slurm_environment(os.environ, port))
    missing = [key for key in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if key not in os.environ]
    if missing:
        raise ValueError(
            f"--launcher {kind}: the environment lacks {', '.join(missing)}; start uir with torchrun (or srun)"
        )
    if port is not None and str(port) != os.environ["MASTER_PORT"] and os.environ["RANK"] == "0":
        logger.warning(
            "dist_params.port: %d is not used; torchrun's --master_port is (%s)", port, os.environ["MASTER_PORT"]
        )
    cuda = torch.cuda.is_available() if device_type is None else device_type == "cuda"
    if cuda:
        torch.cuda.set_device(local_rank())
    dist.init_process_group(backend if backend and (cuda or backend != "nccl") else "nccl" if cuda else "gloo")
    _started = True
    try:
        yield
        gc.collect()  # networks in DDP form reference cycles; their threads must end before the process group does
        dist.barrier()  # no process leaves while another is still in a collective operation
    except Exception as error:
        rank, world = rank_and_world()
        print(f"uir: rank {rank} of {world} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        raise
    finally:
        dist.destroy_process_group()
        _started = False


def slurm_environment(environment: Any, port: int | None = None) -> dict[str, str]:
    """torchrun's variables, derived from Slurm's; `port` counts more than MASTER_PORT.

    Raises:
        ValueError: the process was not started by srun.
    """
    missing = [key for key in ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST") if key not in environment]
    if missing:
        raise ValueError(f"--launcher slurm: the environment lacks {', '.join(missing)}; start uir with srun")
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment["SLURM_NTASKS"],
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": environment.get("MASTER_ADDR") or first_host(environment["SLURM_NODELIST"]),
        "MASTER_PORT": str(port or environment.get("MASTER_PORT", "29500")),
    }


def first_host(nodes: str) -> str:
    """The first host of Slurm's list: `gpu[03-05,9],cpu1` gives `gpu03`."""
    match = re.match(r"([^\[,]*)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", nodes)
    if match is None or not match.group(0):
        raise ValueError(f"SLURM_NODELIST: cannot read '{nodes}'")
    return f"{match.group(1)}{match.group(2) or ''}{match.group(3) or ''}"


def any_process(flag: bool, device: torch.device | str = "cpu") -> bool:
    """Whether a flag is set in at least one process."""
    if rank_and_world()[1] == 1:
        return flag
    import torch

    tensor = torch.tensor(float(flag), device=device)
    torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MAX)
    return bool(tensor)


def gathered(value: Any) -> list[Any]:
    """The plain values of all processes, in the order of ranks."""
    world = rank_and_world()[1]
    if world == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * world
    dist.all_gather_object(values, value)
    return values


def share_weights(network: torch.nn.Module) -> None:
    """Copy the first process's weights and buffers to all processes, as DDP does for networks that it wraps."""
    if rank_and_world()[1] == 1:
        return
    import torch

    for tensor in network.state_dict().values():
        contiguous = tensor.contiguous()
        torch.distributed.broadcast(contiguous, 0)
        tensor.copy_(contiguous)


def mean_over_processes(values: dict[str, float], device: torch.device | str = "cpu") -> dict[str, float]:
    """Mean of each value over the processes; the keys must be the same in all of them."""
    world = rank_and_world()[1]
    if world == 1:
        return values
    import torch

    type_ = torch.float32 if torch.device(device).type == "mps" else torch.float64  # MPS has no float64
    tensor = torch.tensor(list(values.values()), dtype=type_, device=device)
    torch.distributed.all_reduce(tensor)
    return dict(zip(values, (tensor / world).tolist(), strict=True))

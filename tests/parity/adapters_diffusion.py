"""Adapters of diffusion restorers: their networks, schedules and samplers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adapters_blind_sr import BlindSRAdapter
from safetensors.torch import load_file
from torch import Tensor, nn

from uir.archs.diffuir_arch import DiffUIR
from uir.diffusion.residual import (
    END,
    ResidualSchedule,
    diffused,
    noise_of,
    residual_schedule,
    sample,
    spread_times,
    start_of,
)

Meta = Mapping[str, Any]
Arrays = Mapping[str, np.ndarray]
Comparison = tuple[Any, Any, float]


def diffuir(arguments: Mapping[str, Any]) -> DiffUIR:
    """The network; the others of its arguments choose the objective that is published."""
    return DiffUIR(arguments["dim"], arguments["dim_mults"])


def call_diffuir(network: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    """The state and the degraded image are stored side by side; checks of full size are at time 1."""
    state, degraded = inputs["x"].chunk(2, 1)
    return network((degraded + 1) / 2, state, inputs.get("t_res", torch.ones(len(state))))


class SixChannels(DiffUIR):
    """Takes the state and the degraded image side by side, as key maps count."""

    def forward(self, x: Tensor) -> Tensor:
        """The residual at time 1."""
        return self.unet0(x, x.new_ones(len(x)))


def make_diffuir(meta: Meta) -> nn.Module:
    """The network of a fixture, or of a key map."""
    network = diffuir(meta["constructor"])
    if "state_dict" in meta:
        network.__class__ = SixChannels
    return network


def published_buffers(schedule: ResidualSchedule) -> dict[str, Tensor]:
    """The schedule as the buffers of the authors' class, by its own rule: ᾱ is 1 before the first time."""
    share, variance = schedule.residual, schedule.variance
    alphas, betas2 = (torch.cat([values.new_zeros(1), values.diff()]) for values in (share, variance))
    earlier_share, earlier = (torch.cat([values.new_ones(1), values[:-1]]) for values in (share, variance))
    posterior = betas2 * earlier / variance
    left = 1 - share
    left[-1] = 1e-6
    second = (betas2 * earlier_share - earlier * alphas) / variance
    first, third = earlier / variance, betas2 / variance
    first[0] = second[0] = 0
    third[0] = 1
    return {
        "alphas": alphas, "alphas_cumsum": share, "one_minus_alphas_cumsum": left, "betas2": betas2,
        "betas": betas2.sqrt(), "betas2_cumsum": variance, "betas_cumsum": schedule.noise,
        "posterior_mean_coef1": first, "posterior_mean_coef2": second, "posterior_mean_coef3": third,
        "posterior_variance": posterior, "posterior_log_variance_clipped": posterior.clamp_min(1e-20).log(),
        "delta": schedule.degraded_step, "delta_cumsum": schedule.degraded,
    }  # fmt: skip


def compare_residual_diffusion(meta: Meta, arrays: Arrays) -> dict[str, Comparison]:
    """Schedule, forward process, inversions and all states of the sampler."""
    given = {key: torch.from_numpy(value) for key, value in arrays.items()}
    buffers = {key: value for key, value in given.items() if key.startswith("buffer_")}
    schedule = residual_schedule(len(given["buffer_delta"]), meta["delta_end"])
    made = published_buffers(schedule)
    compared: dict[str, Comparison] = {}
    for key, expected in buffers.items():
        atol = float(expected.abs().max()) * meta["tolerance"]["buffers"]["rtol"]
        compared[key] = (made[key.removeprefix("buffer_")], expected, atol)

    clean, residual, degraded, noise, times = (
        given[f"q_{name}"] for name in ("x_start", "x_res", "condition", "noise", "t")
    )
    state = diffused(clean, residual, degraded, noise, times, schedule)
    shares = [schedule.shares(int(time)) for time in times]
    found = [noise_of(state[i : i + 1], residual[i : i + 1], degraded[i : i + 1], shares[i]) for i in range(len(times))]
    of_residual, of_noise, _ = (torch.tensor(share).view(-1, 1, 1, 1) for share in zip(*shares, strict=True))
    start = state - of_residual * residual - of_noise * noise  # the authors' inversion leaves the degraded image out
    compared["q_sample"] = (state, given["q_sample"], 1e-5)
    compared["predict_noise_from_res"] = (torch.cat(found), given["predict_noise_from_res"], 1e-4)
    compared["predict_start_from_res_noise"] = (start, given["predict_start_from_res_noise"], 1e-5)

    network = diffuir(meta["net_constructor"]).eval()
    weights = load_file(Path(meta["folder"]) / "weights.safetensors")
    network.load_state_dict({key: value.float() for key, value in weights.items()}, strict=True)
    lq = given["in_x_input"]

    def estimate(state: Tensor, time: int) -> Tensor:
        return network(lq, state, schedule.network_time(torch.tensor([time])))

    degraded = 2 * lq - 1
    start = start_of(degraded, given["in_init_noise"], schedule, meta["sum_scale"] ** 0.5)
    times_left = spread_times(schedule.timesteps, meta["sampling_timesteps"])
    assert times_left[-1] == END
    with torch.no_grad():
        states = sample(estimate, degraded, start, schedule, times_left)
    for index, state in enumerate(states):
        compared[f"sample_{index}"] = ((state + 1) / 2, given[f"sample_{index}"], meta["tolerance"]["sample"]["atol"])
    return compared


Adapters = dict[tuple[str, str], Any]
DIFFUSION_ADAPTERS: Adapters = {
    ("iSEE-Laboratory/DiffUIR", "UnetRes"): BlindSRAdapter(make_diffuir, call_diffuir),
}
DIFFUSION_FUNCTIONS: dict[str, Callable[[Meta, Arrays], dict[str, Comparison]]] = {
    "diffuir/residual_diffusion": compare_residual_diffusion,
}

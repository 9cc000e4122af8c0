"""Adapters of diffusion restorers: their networks, schedules and samplers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adapters_blind_sr import BlindSRAdapter
from safetensors.torch import load_file
from torch import Tensor, nn

from uir.archs.conditional_unet_arch import ConditionalNAFNet, ConditionalUNet, MeanReverting
from uir.archs.diffuir_arch import DiffUIR
from uir.archs.latent_unet_arch import LatentUNet
from uir.diffusion.mean_reverting import (
    KINDS,
    MeanRevertingSchedule,
    backward_mean,
    best_deviation,
    best_mean,
    clean_of,
    mean_of,
    mean_reverting_schedule,
)
from uir.diffusion.mean_reverting import diffused as reverting
from uir.diffusion.mean_reverting import noise_of as noise_in
from uir.diffusion.mean_reverting import sample as sample_back
from uir.diffusion.mean_reverting import spread_times as times_back
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
    # What follows from the shares is made of the published ones: it has differences of neighbours near 1, which would
    # show the last bits of this processor's square roots. The shares themselves are ours.
    shares = ("alphas_cumsum", "betas2_cumsum", "delta_cumsum", "delta")
    ours = dict(zip(shares, dataclasses.astuple(schedule), strict=True))
    made = published_buffers(ResidualSchedule(*(buffers[f"buffer_{name}"] for name in shares))) | ours
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


class AtTimeOne(MeanReverting):
    """Estimates at time 1 with the image as its own state, as checks of full size and key maps do."""

    def forward(self, x: Tensor) -> Tensor:
        """The output."""
        return super().forward(x, x, x.new_ones(len(x)))


def make_reverting(cls: type[MeanReverting]) -> Callable[[Meta], nn.Module]:
    """A network that estimates noise; of a key map it takes the image alone."""

    def build(meta: Meta) -> nn.Module:
        network = cls(**meta["constructor"])
        if "state_dict" in meta:
            network.__class__ = type("Counted", (AtTimeOne, cls), {})
        return network

    return build


def call_reverting(network: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    """Degraded image, state and time; checks of full size have one image and time 1."""
    if "x" in inputs:
        return network(inputs["x"], inputs["x"], torch.ones(len(inputs["x"])))
    return network(inputs["cond"], inputs["xt"], inputs["time"])


def call_latent(network: Any, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The latents and the decoded image."""
    latent, hidden = network.encode(inputs["x"])
    return {"out": network.decode(latent, hidden, inputs["x"].shape[-2:]), "latent": latent}


def compare_reverting(meta: Meta, arrays: Arrays) -> dict[str, Comparison]:
    """All schedules, single steps at every stored time, and whole ways back with a toy estimate."""
    given = {key: torch.from_numpy(value) for key, value in arrays.items()}
    rtol, steps = meta["tolerance"]["schedules"]["rtol"], meta["tolerance"]["steps"]
    compared: dict[str, Comparison] = {}

    def add(key: str, got: Any, relative: float = steps["rtol"], least: float = steps["atol"]) -> None:
        compared[key] = (got, given[key], max(float(given[key].abs().max()) * relative, least))

    for prefix, eps in (("", meta["eps"]), ("denoising_", 0.04)):
        for kind in KINDS:
            if f"{prefix}{kind}_thetas" not in given:
                continue
            made = mean_reverting_schedule(meta["T"], meta["max_sigma"], eps, kind)
            names = {"thetas": made.theta, "sigmas": made.sigma, "thetas_cumsum": made.integral, "dt": made.dt}
            for name, values in (names | {"sigma_bars": made.noise}).items():
                add(f"{prefix}{kind}_{name}", values, rtol, 0.0)

    schedule = mean_reverting_schedule(meta["T"], meta["max_sigma"], meta["eps"])
    times = sorted({int(key[1:].partition("_")[0]) for key in given if key.endswith("_xt")})
    for time in times:
        for name, got in _steps_of(time, given, schedule).items():
            add(f"t{time}_{name}", got, 1e-3 if "score" in name else steps["rtol"])

    degraded, last = given["mu"], times[-1]
    for sampler in ("ode", "sde", "posterior"):
        key = "reverse_ode_toy" if sampler == "ode" else f"reverse_{sampler}_toy_samenoise"
        got = sample_back(
            lambda state, time: 0.1 * (state - degraded) + 0.01 * time / meta["T"], degraded, given[f"t{last}_xt"],
            schedule, times_back(last, last), sampler, 1.0, lambda time: given["noise"],
        )  # fmt: skip
        add(key, got)
    state = given[f"t{last}_xt"]
    for time in range(last, 0, -1):
        state = best_mean(state, degraded, given["x0"], torch.tensor([time]), torch.tensor([time - 1]), schedule)
    add("optimal_reverse", state)
    return compared


def _steps_of(time: int, given: Mapping[str, Tensor], schedule: MeanRevertingSchedule) -> dict[str, Any]:
    """Everything that is stored of one time, by its name."""
    clean, degraded, noise, state = (given[key] for key in ("x0", "mu", "noise", f"t{time}_xt"))
    at, then = torch.tensor([time]), torch.tensor([time - 1])
    theta, sigma, deviation = (float(v[time]) for v in (schedule.theta, schedule.sigma, schedule.noise))
    drawn, score = sigma * noise * schedule.dt**0.5, -noise / deviation
    from_noise = clean_of(state, degraded, noise, at, schedule)
    back, along = (backward_mean(state, degraded, noise, at, then, schedule, kind) for kind in ("sde", "ode"))
    real = noise_in(state, degraded, clean, at, schedule)
    return {
        "mu_bar": mean_of(clean, degraded, at, schedule), "xt": reverting(clean, degraded, noise, at, schedule),
        "drift": theta * (degraded - state) * schedule.dt, "dispersion": drawn, "score": score,
        "sde_reverse_drift": state - back, "ode_reverse_drift": state - along, "reverse_sde_step": back - drawn,
        "reverse_sde_step_mean": back, "reverse_ode_step": along,
        "optimum_step": best_mean(state, degraded, clean, at, then, schedule),
        "optimum_std": best_deviation(time, time - 1, schedule), "x0_from_noise": from_noise, "real_noise": real,
        "real_score": -real / deviation,
        "posterior_step": best_mean(state, degraded, from_noise, at, then, schedule)
        + best_deviation(time, time - 1, schedule) * noise,
    }  # fmt: skip


IRSDE = "Algolzw/image-restoration-sde"
DIFFUSION_ADAPTERS: dict[tuple[str, str], Any] = {
    ("iSEE-Laboratory/DiffUIR", "UnetRes"): BlindSRAdapter(make_diffuir, call_diffuir),
    (IRSDE, "ConditionalUNet"): BlindSRAdapter(make_reverting(ConditionalUNet), call_reverting),
    (IRSDE, "ConditionalNAFNet"): BlindSRAdapter(make_reverting(ConditionalNAFNet), call_reverting),
    (IRSDE, "UNet"): BlindSRAdapter(lambda meta: LatentUNet(**meta["constructor"]), call_latent),
}
DIFFUSION_FUNCTIONS: dict[str, Callable[[Meta, Arrays], dict[str, Comparison]]] = {
    "diffuir/residual_diffusion": compare_residual_diffusion,
    "irsde/sde_schedule_and_steps": compare_reverting,
}

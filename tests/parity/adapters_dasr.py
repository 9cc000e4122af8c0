"""The fixture of DASR's degradation (Liang et al.): images without noise, and the 33 numbers that describe them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uir.degradations.base import apply_steps
from uir.degradations.dasr_liang_vectoriser import DASRLiangVector
from uir.degradations.record import DegradationRecord, RecordBatch
from uir.degradations.sharpen_degradation import USMSharpen

Comparison = tuple[Any, Any, float]
Step = dict[str, Any]
LEVELS = {
    "weak_degrade_one_stage": "weak",
    "standard_degrade_one_stage": "standard",
    "severe_degrade_two_stage": "severe",
}


def compare_degradation_vector(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Comparison]:
    """Records are built of the drawn parameters; their images and their published vectors are compared."""
    compared: dict[str, Comparison] = {}
    for case, told in meta["cases"].items():
        images = torch.from_numpy(arrays[f"{case}_in_gt"])
        records = [_record(told, case, arrays, index) for index in range(len(images))]
        atol = meta["tolerance"]["vector"]["atol"]
        vector = DASRLiangVector(legacy=True)(RecordBatch(records)).values
        compared[f"{case}_out_vector"] = (vector, arrays[f"{case}_out_vector"], atol)
        sharp = USMSharpen.apply(images, USMSharpen().sample(0, (48, 56)))
        usm = meta["tolerance"]["gt_after_usm"]["atol"]
        compared[f"{case}_gt_after_usm"] = (sharp, arrays[f"{case}_gt_after_usm"], usm)
        expected = torch.from_numpy(arrays[f"{case}_out_lq_noise_free"])
        made = torch.stack([_without_noise(image, record) for image, record in zip(sharp, records, strict=True)])
        off = ((made - expected).abs() > 1.01 / 255).float().mean()  # equal to one level on 99.5 % of the pixels
        compared[f"{case}_share_of_other_pixels"] = (off, 0.0, 0.005)
    return compared


def _without_noise(image: Tensor, record: DegradationRecord) -> Tensor:
    steps = [step for step in record.steps or () if not step["op"].endswith("Noise")]
    return apply_steps(image, steps)


def _record(told: Mapping[str, Any], case: str, arrays: Mapping[str, np.ndarray], index: int) -> DegradationRecord:
    level = LEVELS[told["degree"]]
    operations = [list(operation) for operation in told["operations_in_order"]]
    noises = [list(draw) for draw in told["noise_draws_in_order"]]
    steps: list[Step] = [{"op": "Mark", "level": level}]
    stages = iter(["first", "second", "final"] if level == "severe" else ["first", "final"])
    stage, resizes = next(stages), 0
    codecs = 0
    for operation in operations:
        kind = operation[0]
        if kind == "filter2D":
            if operation[1] == "kernel2":
                stage = next(stages)
            steps.append(_blur(operation[1], case, arrays, index, stage))
        elif kind == "interpolate":
            resizes += 1
            if resizes > 1 and not (resizes == 2 and stage == "second"):
                stage = next(stages) if stage != "final" else stage
            steps.append(_resize(operation, told, stage, arrays, case, index))
            if stage in ("first", "second") and noises:
                steps.append(_noise(noises.pop(0), stage, index))
        elif kind == "jpeg":
            codecs += 1
            if codecs == 2 and stage == "second":
                stage = next(stages)
            steps.append(_jpeg(operation[1][index], stage))
    if level == "severe" and not any(step.get("stage") == "second" and "Blur" in step["op"] for step in steps):
        steps.append({"op": "Mark", "skipped": [_blur("kernel2", case, arrays, index, "second")]})
    return DegradationRecord((*steps, {"op": "Quantise", "levels": 256}))


def _blur(name: str, case: str, arrays: Mapping[str, np.ndarray], index: int, stage: str) -> Step:
    def drawn(key: str) -> float:
        return float(arrays[f"{case}_{name}_{key}"][index])

    side = int(drawn("kernel_size"))
    if name == "sinc_kernel":
        return {"op": "SincFilter", "omega_rad": drawn("omega_c"), "kernel_size": side, "stage": "final"}
    return {
        "op": "AnisotropicGaussianBlur",
        "sigma_x_px": drawn("sigma_x"),
        "sigma_y_px": drawn("sigma_y"),
        "angle_deg": math.degrees(drawn("rotation")),
        "kernel_size": side,
        "stage": stage,
    }


def _resize(
    operation: list[Any], told: Mapping[str, Any], stage: str, arrays: Mapping[str, np.ndarray], case: str, index: int
) -> Step:
    _, size, scale, mode = operation
    height, width = arrays[f"{case}_in_gt"].shape[-2:]
    legacy = size is None and mode != "area"
    if size is None:
        size = [math.floor(height * scale), math.floor(width * scale)]
    if stage == "second":  # the drawn scale is in the vector alone
        share = float(arrays[f"{case}_out_vector"][index, 14])
        scale = (0.3 + share * 0.9) / 4
    drawn = {"scale": scale, "mode": mode, "legacy": legacy and scale != 1}
    return {"op": "Resize", "height": size[0], "width": size[1], "stage": stage, **drawn}


def _noise(draw: list[Any], stage: str, index: int) -> Step:
    kind, strengths, greys = draw
    common = {"grey": bool(greys[index]), "clip": True, "seed": 0, "stage": stage}
    if kind == "gaussian":
        return {"op": "GaussianNoise", "sigma_255": strengths[index], "quantise": False, **common}
    return {"op": "PoissonNoise", "scale": strengths[index], "photons": None, **common}


def _jpeg(quality: float, stage: str) -> Step:
    return {"op": "DiffJPEG", "quality": quality, "differentiable": False, "legacy": True, "stage": stage}


DASR_ADAPTERS: dict[str, Callable[..., dict[str, Comparison]]] = {
    "dasr_liang/degradation_vector": compare_degradation_vector
}

"""The metrics in evaluations: of whole sets, without a ground truth, and by their better direction."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from uir.cli.listing import entries_of
from uir.engine.evaluation import Evaluation, evaluate, update_best
from uir.engine.testing import results_table
from uir.metrics import build_metric, niqe
from uir.metrics.building import better_of
from uir.registry import METRIC_REGISTRY

ROOT = Path(__file__).resolve().parents[2]


class Dataset(torch.utils.data.Dataset):
    """Two noisy crops of a photograph, with or without their clean images."""

    def __init__(self, photograph, has_gt):
        crops = [photograph[:, top : top + 98, 60:253] for top in (40, 200)]
        self.items = []
        for index, gt in enumerate(crops):
            noise = torch.randn(gt.shape, generator=torch.Generator().manual_seed(index))
            self.items.append(
                {"lq": (gt + 0.1 * noise).clamp(0, 1), "lq_path": f"{index}.png"} | ({"gt": gt} if has_gt else {})
            )

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.items[index]


@pytest.fixture(params=[True, False], ids=["with_gt", "without_gt"])
def loader(request, photograph):
    return torch.utils.data.DataLoader(Dataset(photograph, request.param), batch_size=1)


MODEL = SimpleNamespace(
    predict=lambda batch, controls: SimpleNamespace(restored=batch["lq"] * 0.9), extra_measures=lambda batch: {}
)


def measured(loader, metrics):
    return evaluate(MODEL, loader, "set", metrics, iteration=1, measure_input=True, progress=False)


def test_niqe_measures_a_set_with_or_without_a_ground_truth(loader):
    found = measured(loader, {"niqe": build_metric({"type": "NIQE"}), "psnr": build_metric({"type": "PSNR"})})
    images = [item["lq"] for item in loader.dataset.items]
    assert found.results["niqe"] == pytest.approx(sum(niqe(image * 0.9).item() for image in images) / 2)
    assert found.inputs["niqe"] == pytest.approx(sum(niqe(image).item() for image in images) / 2)
    assert ("psnr" in found.results) == ("psnr" in found.inputs) == ("gt" in loader.dataset.items[0])


@pytest.mark.slow
def test_fid_is_measured_over_the_set_and_has_no_value_of_an_image(photograph, trunk):
    loader = torch.utils.data.DataLoader(Dataset(photograph, has_gt=True), batch_size=1)
    metric = build_metric({"type": "FID", "weights": str(trunk("inception"))})
    found = measured(loader, {"fid": metric})
    parts = [metric.contribution(item["lq"][None] * 0.9, item["gt"][None]) for item in loader.dataset.items]
    assert found.results["fid"] == pytest.approx(metric.result(parts))
    assert found.inputs["fid"] != found.results["fid"]
    assert all("fid" not in row["metrics"] for row in found.per_image)
    assert "FID (2048" in results_table([found], {"fid": metric}).columns[-1].header


def test_the_best_value_of_a_lower_metric_is_the_lowest():
    best, metrics = {}, {"niqe": build_metric({"type": "NIQE"})}
    for iteration, value in enumerate((5.0, 3.0, 4.0)):
        update_best(best, Evaluation("set", 1, {"niqe": value}), metrics, iteration)
    assert best["set"]["niqe"] == {"better": "lower", "val": 3.0, "iter": 1}


def test_the_list_says_which_scores_are_good():
    lower = {entry.name for entry in entries_of("metrics") if entry.summary.endswith("(lower is better).")}
    own = {"Contextual", "DISTS", "DeltaE", "FID", "LPIPS", "NIQE", "calculate_niqe"}
    assert own <= lower
    assert not lower & {"PSNR", "PSNRB", "SSIM", "MSSSIM", "calculate_psnr"}


def test_the_page_has_a_row_for_every_metric():
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.partition("## Weights")[0].splitlines() if line.startswith("| `")]
    better = {name.strip("` "): row[4].strip() for row in rows[1:] for name in row[1].split(",")}
    own = {name for name in METRIC_REGISTRY.keys() if METRIC_REGISTRY.get(name).__module__.startswith("uir.")}  # noqa: SIM118
    assert set(better) - {"pyiqa:<name>"} == own
    assert {name: better_of(METRIC_REGISTRY.get(name)) for name in own} == {name: better[name] for name in own}

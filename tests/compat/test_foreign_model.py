"""Models written like BasicSR's, in uir's loop: what their own loops call and give, and what they measure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from uir.compat.foreign_model import ForeignModel, resume_paths


class Plain:
    """A model as BasicSR's loop calls it."""

    def __init__(self, val: dict[str, Any] | None = None) -> None:
        self.opt: dict[str, Any] = {"val": val or {}}
        self.called: list[Any] = []

    def feed_data(self, data: Any) -> None:
        self.called.append("feed_data")

    def optimize_parameters(self, current_iter: int) -> None:
        self.called.append(current_iter)

    def validation(self, dataloader: Any, current_iter: int, tb_logger: Any, save_img: bool = False) -> None:
        self.called.append("validation")


class Restormers(Plain):
    """A model as the loops of Restormer and NAFNet call it."""

    def feed_train_data(self, data: Any) -> None:
        self.called.append("feed_train_data")

    def optimize_parameters(self, current_iter: int, tb_logger: Any) -> None:  # type: ignore[override]
        self.called.append((current_iter, tb_logger))

    def validation(
        self,
        dataloader: Any,
        current_iter: int,
        tb_logger: Any,
        save_img: bool = False,
        rgb2bgr: bool = True,
        use_image: bool = True,
    ) -> None:
        self.called.append((rgb2bgr, use_image))


LOADER = SimpleNamespace(dataset=SimpleNamespace())


def one_step(model: Plain) -> list[Any]:
    foreign = ForeignModel(model)
    foreign.feed_data({})
    foreign.optimize_parameters(3)
    foreign.evaluate(LOADER, 3, None, False)
    return model.called


def test_a_model_of_basicsr_s_form_is_called_as_basicsr_does() -> None:
    assert one_step(Plain()) == ["feed_data", 3, "validation"]


def test_a_model_of_restormer_s_form_gets_what_its_own_loop_gives() -> None:
    assert one_step(Restormers({"use_image": False})) == ["feed_train_data", (3, None), (True, False)]


def test_values_by_folder_are_averaged_over_frames_and_then_over_folders() -> None:
    model = Plain({"metrics": {"psnr": {}, "ssim": {}}})
    model.metric_results = {  # type: ignore[attr-defined]
        "001": torch.tensor([[10.0, 0.5], [20.0, 0.7]]),
        "002": torch.tensor([[30.0, 0.9]]),
    }
    assert ForeignModel(model).evaluate(LOADER, 1, None, False) == pytest.approx({"psnr": 22.5, "ssim": 0.75})


@pytest.mark.parametrize("named", ["network_d", ["network_d"], ["d"]], ids=str)
def test_networks_that_a_resumed_run_does_not_load_keep_their_own_weights(named: Any) -> None:
    path = {"models": "run/models", "ignore_resume_networks": named, "pretrain_network_d": "d.pth"}
    resume_paths({"network_g": {}, "network_d": {}, "path": path}, 7)
    assert (path["pretrain_network_g"], path["pretrain_network_d"]) == ("run/models/net_g_7.pth", "d.pth")

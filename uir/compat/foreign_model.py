"""Runs an unchanged model that is written for basicsr's BaseModel, with the interface of uir's own models."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class ForeignModel:
    """Wraps a model that is built from a dictionary.

    The model does its whole step inside `optimize_parameters`, validates with its own loop, and writes its files to the
    folders of its dictionary. This class translates only the calls of the training loop that differ.
    """

    nonfinite_in_a_row = 0
    """Nothing is skipped: the model does its whole step itself."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device = getattr(model, "device", "cpu")
        model.save_training_state = lambda *_: None  # the training loop writes the complete state after the networks
        if _is_video_model(model):
            _copy_what_it_reads(model)

    def roles(self) -> list[str]:
        """Roles of the model's networks."""
        return [key.removeprefix("network_") for key in self.model.opt if key.startswith("network_")]

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Store a batch for the next step."""
        feed = getattr(self.model, "feed_train_data", self.model.feed_data)  # Restormer's models mix images there
        with naming_cuda(type(self.model).__name__):
            feed(data)

    def optimize_parameters(self, current_iter: int) -> None:
        """One step."""
        known = inspect.signature(self.model.optimize_parameters).parameters
        more = {"tb_logger": None} if "tb_logger" in known else {}  # NAFNet's loop gives its TensorBoard writer
        with naming_cuda(type(self.model).__name__):
            self.model.optimize_parameters(current_iter, **more)

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Set the learning rates of an iteration."""
        self.model.update_learning_rate(current_iter, warmup_iter=warmup_iter)

    def get_current_learning_rate(self) -> list[float]:
        """Learning rates of the first optimizer's groups."""
        return list(self.model.get_current_learning_rate())

    def get_current_log(self) -> dict[str, float]:
        """The losses of the last batch."""
        return dict(self.model.get_current_log())

    def save(self, models: Path, tag: int | str) -> None:
        """Write the networks to the `models` folder of the model's dictionary, which is this run's."""
        iteration = -1 if tag == "latest" else int(tag)
        self.model.save(-1 if tag == "latest" else 0, iteration)

    def training_state(self) -> dict[str, Any]:
        """Optimizers and schedulers, as in basicsr's own state files."""
        return {
            "optimizers": [optimizer.state_dict() for optimizer in self.model.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.model.schedulers],
        }

    def resume_training(self, state: Mapping[str, Any], models: Path) -> None:
        """Continue from a state; the networks were loaded when the model was built (see `resume_paths`)."""
        self.model.resume_training(state)

    def evaluate(self, loader: Any, current_iter: int | str, tb_logger: Any, save_img: bool) -> dict[str, float]:
        """Run the model's own validation and return its metrics."""
        with naming_cuda(type(self.model).__name__):
            self._prepare_folders(loader.dataset)
            self.model.validation(loader, current_iter, tb_logger, save_img, **self._validation_arguments())
        return self._means(getattr(self.model, "metric_results", None) or {})

    def _validation_arguments(self) -> dict[str, Any]:
        """What the loops of Restormer and NAFNet give to a validation besides; their defaults are true."""
        known = inspect.signature(self.model.validation).parameters
        val = self.model.opt.get("val") or {}
        return {key: val.get(key, True) for key in ("rgb2bgr", "use_image") if key in known}

    def _prepare_folders(self, dataset: Any) -> None:
        """Make the tables in which basicsr's video models measure a set, on the model's device.

        These models make them themselves, but only for the first set, and only on a GPU.
        """
        names = (self.model.opt.get("val") or {}).get("metrics")
        frames = getattr(dataset, "data_info", None)
        if names and isinstance(frames, Mapping) and "folder" in frames and _is_video_model(self.model):
            import torch

            sizes: Counter[str] = Counter(frames["folder"])
            self.model.metric_results = {
                folder: torch.zeros(count, len(names), device=self.device) for folder, count in sizes.items()
            }

    def _means(self, results: Mapping[str, Any]) -> dict[str, float]:
        """The metrics by name: the model's own values, or the means over frames and then over folders."""
        if not results or not all(getattr(value, "ndim", 0) for value in results.values()):
            return {name: float(value) for name, value in results.items()}
        folders = [table.float().mean(dim=0).tolist() for table in results.values()]
        means = [sum(values) / len(folders) for values in zip(*folders, strict=True)]
        return dict(zip(self.model.opt["val"]["metrics"], means, strict=True))


def _is_video_model(model: Any) -> bool:
    return any(
        cls.__module__.startswith("basicsr.") and cls.__name__ == "VideoBaseModel"
        for cls in inspect.getmro(type(model))
    )


def _copy_what_it_reads(model: Any) -> None:
    """Feed the model copies: its validation changes the shape of a batch after feeding it; a GPU has copies anyway."""
    feed = model.feed_data
    model.feed_data = lambda data: feed(
        {key: value.clone() if key in ("lq", "gt") else value for key, value in data.items()}
    )


@contextmanager
def naming_cuda(name: str) -> Iterator[None]:
    """Report clearly if a class hard-codes CUDA and there is no GPU.

    Raises:
        ValueError: the class hard-codes CUDA, and there is no GPU.
    """
    try:
        yield
    except (AssertionError, RuntimeError) as error:
        import torch

        no_cuda = ("Torch not compiled with CUDA", "No CUDA GPUs", "Found no NVIDIA driver", "CUDA driver")
        if torch.cuda.is_available() or not any(text in str(error) for text in no_cuda):
            raise
        raise ValueError(
            f"{name} hard-codes CUDA and cannot run on this machine, which has no GPU ({error}); a model of uir can"
        ) from error


def resume_paths(opt: dict[str, Any], iteration: int) -> None:
    """Make a dictionary start from the networks saved at an iteration, as basicsr does when it resumes."""
    path = opt["path"]
    named = path.get("ignore_resume_networks") or ()
    ignored = [named] if isinstance(named, str) else list(named)
    for key in [name for name in opt if name.startswith("network_")]:
        role = key.removeprefix("network_")
        if not {key, role} & set(ignored):  # a fork writes only the role
            path[f"pretrain_network_{role}"] = str(Path(path["models"]) / f"net_{role}_{iteration}.pth")
            path[f"param_key_{role}"] = "params"
            path[f"strict_load_{role}"] = True

"""Translates option files of DCPT's and MaskDCPT's code (Hu et al., 2025) into uir's form.

DCPT's code describes a mixture as sections `train_1`, `train_2`, ... beside one `dataloader`, names layers to hook, and
uses common names for its own networks. Only these keys, and those of its data sets, identify the dialect; any other
file passes unchanged. The classes are the training sets in the order of the file, as in DCPT, so that published
classifiers fit. MaskDCPT's files have the same grammar, some more keys, and another network called Restormer.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from uir.compat.dcpt_sets import SETS, SWITCHES, Part, is_marked, parts_of
from uir.config.dialects import DialectError, Translation, laid_marks
from uir.config.schema import LoaderOptions
from uir.config.yaml_file import KeyPath, Mark
from uir.registry import ARCH_REGISTRY, DATASET_REGISTRY, UnknownNameError
from uir.registry.components import build, signature_of

# The meaning of DCPT's names: the type in uir, and the arguments that make it the same network.
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "NAFNet": ("NAFNetLocal", {"train_size": [1, 3, 128, 128]}),
    "NAFNetBaseline": ("NAFNet", {}),
    "Restormer": ("RestormerDCPT", {}),
    "Restormer_origin": ("Restormer", {}),
    "SwinIR": ("SwinIR", {"rel_pos_bias": False, "attn_mask": False}),
}
# The meaning of MaskDCPT's names: its Restormer has softmax attention, and its norms always have a bias.
MASK_NETWORKS = {
    **NETWORKS,
    "Restormer": ("Restormer", {"LayerNorm_type": "WithBias"}),
    "PromptIR": ("PromptIR", {"LayerNorm_type": "WithBias"}),
}
# MaskDCPT's layers of PromptIR, from 0 to 6; all others are layer 7. The decoder's are in the order of their numbers,
# so that the last level that runs, level 1, has the lowest rate of the decoder.
MASK_LAYERS: dict[str, list[list[str]]] = {
    "PromptIR": [
        ["patch_embed", "encoder_level1"],
        ["encoder_level2", "down1_2"],
        ["encoder_level3", "down2_3"],
        ["latent", "down3_4"],
        ["decoder_level1", "up2_1", "prompt1", "noise_level1", "reduce_noise_level1"],
        ["decoder_level2", "up3_2", "reduce_chan_level2", "prompt2", "noise_level2", "reduce_noise_level2"],
        ["decoder_level3", "up4_3", "reduce_chan_level3", "prompt3", "noise_level3", "reduce_noise_level3"],
    ],
}
CROP = 256  # side of DCPT's validation crops
_OWN_KEYS = ("hook_names", "classify", "dataset_idx", "dataloader", "dataloader_val")
_OWN_NETWORKS = ("NAFNetBaseline", "Restormer_origin")
_LOADER_KEYS = tuple(key for key in LoaderOptions.model_fields if key not in ("name", "dataset_enlarge_ratio"))
# Progressive learning: the published loader of a mixture ignores all of these keys.
_IDLE_KEYS = ("iters", "gt_sizes", "mini_batch_sizes")
_MASK_KEYS = ("eval_lpips", "layer_decay")  # at the top level, and only in MaskDCPT's files
_MASK_NAME = re.compile(r"mask[_-]?dcpt", re.IGNORECASE)
_NUMBERED = re.compile(r"train_\d+$")


def is_dialect(raw: Mapping[str, Any]) -> bool:
    """Whether a merged option mapping is in DCPT's dialect."""
    datasets, train, network = (_mapping(raw, key) for key in ("datasets", "train", "network_g"))
    sections = [section for section in (raw, datasets, train, network) for key in _OWN_KEYS if key in section]
    numbered = any(_NUMBERED.match(str(key)) or is_marked(section) for key, section in datasets.items())
    metrics = _mapping(_mapping(raw, "val"), "metrics").values()
    ranged = any(isinstance(metric, Mapping) and "image_range" in metric for metric in metrics)
    masked = any(key in raw for key in _MASK_KEYS)
    return bool(sections) or numbered or ranged or masked or network.get("type") in _OWN_NETWORKS


def translate(raw: Mapping[str, Any], marks: Mapping[KeyPath, Mark]) -> Translation | None:
    """Translate a merged option mapping into uir's form; None if it is not in the dialect.

    Args:
        raw: the mapping; it is not changed.
        marks: the places where its keys were written.

    Raises:
        DialectError: a key of the dialect has no valid meaning.
    """
    if not is_dialect(raw):
        return None
    translator = _Translator(copy.deepcopy(dict(raw)))
    translator.run()
    notes = tuple(translator.notes)
    laid = laid_marks(marks, translator.moved)
    return Translation(
        translator.raw, laid, translator.moved, notes, translator.reasons, translator.refused,
        dialect="MaskDCPT's" if translator.is_mask else "DCPT's",
    )  # fmt: skip


class _Translator:
    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.datasets: dict[str, Any] = _mapping(raw, "datasets")
        self.train: dict[str, Any] = _mapping(raw, "train")
        self.moved: dict[KeyPath, KeyPath] = {}
        self.notes: list[str] = []
        self.reasons: dict[KeyPath, str] = {}
        self.refused: dict[KeyPath, str] = {}
        named = (raw.get("name"), _mapping(raw, "path").get("pretrain_network_g"))
        self.is_mask = any(key in raw for key in _MASK_KEYS) or any(_MASK_NAME.search(str(text)) for text in named)
        self.classifies = "network_dc" in raw
        self.tasks: list[str] = []
        self.labels: list[str] = []

    def run(self) -> None:
        self._check_classify(*self._take("classify"))
        self._mask_keys()
        self._networks()
        self._hooks()
        self._tasks()
        self._target_task()
        self._validation()
        self._metrics()
        self._training()
        if self.classifies and self.labels and isinstance(self.raw.get("train"), dict):
            self.train.setdefault("labels", self.labels)

    def _take(self, key: str) -> tuple[KeyPath, Any]:
        """Remove a key from any of its possible places; its path and value, or ((), None) if it is absent."""
        path_and_value: tuple[KeyPath, Any] = (), None
        for name in (None, "train", "val", "datasets", "network_g", "network_dc"):
            section = self.raw if name is None else _mapping(self.raw, name)
            if key in section:
                path, value = (key,) if name is None else (name, key), section.pop(key)
                if path_and_value[0] and value != path_and_value[1]:
                    first = ".".join(map(str, path_and_value[0]))
                    raise DialectError(path, f": {value!r}, but {first} is {path_and_value[1]!r}; keep one of them")
                path_and_value = path, value
        return path_and_value

    def _check_classify(self, path: KeyPath, value: Any) -> None:
        """Check `classify`, which only repeats what the networks say: there is a classifier, or there is none."""
        if value is not None and not isinstance(value, bool):
            raise DialectError(path, f": expected true or false, got {value!r}")
        if value is False and self.classifies:
            raise DialectError(
                path,
                ": false, but the file has network_dc, a classifier; remove `classify`, or only restore: SRModel "
                "without network_dc",
            )

    def _mask_keys(self) -> None:
        """The keys that only MaskDCPT's files have."""
        if "eval_lpips" in self.raw:
            wanted = "LPIPS needs a file of weights; name it in a metric `{type: LPIPS, weights: FILE}`"
            self._drop(("eval_lpips",), wanted if self.raw.pop("eval_lpips") else "it is switched off")
        decay = self.raw.pop("layer_decay", None)
        if decay in (None, 0, 1) or not self.train:
            self._drop(("layer_decay",), "all layers have the same learning rate", decay is not None)
        else:
            self._layer_decay(decay)

    def _layer_decay(self, decay: Any) -> None:
        """Rates that fall from layer to layer; the published code has a table of layers for one network."""
        name = _mapping(self.raw, "network_g").get("type")
        layers, optimizer = MASK_LAYERS.get(str(name)), self.train.get("optim_g")
        if layers is None or not isinstance(optimizer, dict):
            why = f"MaskDCPT's code has no table of layers for {name}; write train.optim_g.layer_decay instead"
            self.refused[("layer_decay",)] = why
            return
        optimizer |= {"layer_decay": {"factor": decay, "layers": copy.deepcopy(layers)}, "decay_1d": False}
        self.moved["train", "optim_g", "layer_decay", "factor"] = ("layer_decay",)
        self.notes.append(
            "layer_decay is train.optim_g.layer_decay with MaskDCPT's table of layers; as there, biases and other "
            "parameters of one dimension have no weight decay"
        )

    def _drop(self, path: KeyPath, why: str, is_there: bool = True) -> None:
        """Note that a key was left out, if the file has it."""
        if is_there:
            self.reasons[path] = why
            self.notes.append(f"{'.'.join(map(str, path))} is left out ({why})")

    # --- networks ---

    def _networks(self) -> None:
        network = _mapping(self.raw, "network_g")
        name = network.get("type")
        known = MASK_NETWORKS if self.is_mask else NETWORKS
        if not isinstance(name, str) or name not in known:
            return  # the checker reports what is wrong with it
        network["type"], arguments = known[name]
        if self.is_mask:
            network.pop("LayerNorm_type", None)  # MaskDCPT's code does not read it
        for key, value in arguments.items():
            network.setdefault(key, copy.deepcopy(value))
        shown = ", ".join(f"{key} {_shown(value)}" for key, value in arguments.items())
        self.notes.append(f"network_g {name} is {network['type']}{f' with {shown}' if shown else ''}")

    def _hooks(self) -> None:
        path, hooks = self._take("hook_names")
        if hooks is None:
            return
        names = [hooks] if isinstance(hooks, str) else hooks
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise DialectError(path, f": expected the name of a layer or a list of names, got {hooks!r}")
        points = _points(_mapping(self.raw, "network_g"))
        chosen = [point for point, published in points if any(name in published for name in names)]
        if points and not chosen:
            raise DialectError(
                path,
                f": network_g {self.raw['network_g']['type']} has no such feature point, got {hooks!r}; it has "
                + ", ".join(published for _, published in points),
            )
        if chosen and len(chosen) < len(points) and self.classifies:
            self.train["taps"] = chosen
            self.moved["train", "taps"] = path
        if chosen:
            self.notes.append(f"hook_names {hooks} are the feature points {', '.join(chosen)}")

    # --- datasets ---

    def _tasks(self) -> None:
        keys = [key for key in self.datasets if _NUMBERED.match(str(key))]
        if keys and "train" in self.datasets:
            raise DialectError(("datasets", "train"), f"and datasets.{keys[0]} exclude each other; keep one of them")
        path, loader = self._loader("dataloader")
        if not keys:
            if isinstance(self.datasets.get("train"), dict):
                self._single_training_set()
            self._lay_below("train", loader, path)
            return
        labels: list[str] = []
        tasks: dict[str, Any] = {}
        ratios: dict[str, Any] = {}
        sources: dict[str, KeyPath] = {}
        self.moved |= {("datasets", "train", key): (*path, key) for key in (*_LOADER_KEYS, *loader)}
        for key in keys:
            here: KeyPath = ("datasets", key)
            section = self._section(here, self.datasets.pop(key))
            self._check_classify((*here, "classify"), section.pop("classify", None))
            name = section.pop("name", None) or str(key)
            if not isinstance(name, str):
                raise DialectError((*here, "name"), f": expected text, got {name!r}")
            if name in labels:
                name = f"{name}_{key.removeprefix('train_')}"
            labels.append(name)
            for leaf in [leaf for leaf in _LOADER_KEYS if leaf in section]:
                value = section.pop(leaf)
                if leaf not in loader:
                    loader[leaf], sources[leaf] = value, (*here, leaf)
                elif leaf in sources and value != loader[leaf]:
                    first = ".".join(map(str, sources[leaf]))
                    raise DialectError((*here, leaf), f": {value} is not {first}; all training sets share one loader")
            ratio = section.pop("dataset_enlarge_ratio", 1)
            if not isinstance(ratio, int | float) or isinstance(ratio, bool) or not ratio > 0:
                raise DialectError((*here, "dataset_enlarge_ratio"), f": expected a number above 0, got {ratio!r}")
            for task, part in self._parts(section, here, name):
                if task in tasks:
                    raise DialectError(here, f": {task} is the name of another set already; give one another name")
                tasks[task] = part.section
                self._move_part(part, ("datasets", "train", "tasks", task), here)
                if ratio * part.repeats != 1:
                    ratios[task] = ratio * part.repeats
                    self.moved["datasets", "train", "ratios", task] = (*here, "dataset_enlarge_ratio")
        self.moved |= {("datasets", "train", leaf): source for leaf, source in sources.items()}
        mixture = {"type": "MultiTaskDataset", "tasks": tasks, **({"ratios": ratios} if ratios else {}), **loader}
        self.raw["datasets"] = self.datasets = {"train": mixture, **self.datasets}
        self.labels = self.tasks = labels
        self.notes.append(
            f"{keys[0]} to {keys[-1]} are the tasks {', '.join(tasks)} of a MultiTaskDataset, sampled by size times "
            "dataset_enlarge_ratio"
        )

    def _single_training_set(self) -> None:
        """`datasets.train` without numbered sections; with lists of folders it becomes a mixture."""
        here: KeyPath = ("datasets", "train")
        section = self._section(here, self.datasets["train"])
        name = str(section.get("name") or "train")
        loader = {key: value for key, value in section.items() if key in LoaderOptions.model_fields}
        alone = {key: value for key, value in section.items() if key not in loader}
        joined = self._joined(alone, here, here, name, in_training=True)
        if joined != alone:  # else the keys keep their order
            self.datasets["train"] = {**joined, **loader}

    def _parts(self, section: dict[str, Any], path: KeyPath, name: str) -> list[tuple[str, Part]]:
        """A set as one or several sets with one label, each with its name."""
        parts = parts_of(section, path)
        if len(parts) == 1:
            return [(name, parts[0])]
        named = [(f"{name}_{number}", part) for number, part in enumerate(parts, 1)]
        for _, part in named:
            part.section.setdefault("label", name)
        return named

    def _move_part(self, part: Part, new: KeyPath, here: KeyPath) -> None:
        self.moved[new] = here
        self.moved |= {(*new, *key): (*here, *old) for key, old in part.moved.items()}

    def _joined(
        self, section: dict[str, Any], path: KeyPath, new: KeyPath, name: str, in_training: bool
    ) -> dict[str, Any]:
        """A set, at `path` in the user's file and at `new` in uir's form; a mixture if it has lists of folders."""
        named = self._parts(section, path, name)
        if len(named) == 1:
            self.moved |= {(*new, *key): (*path, *old) for key, old in named[0][1].moved.items()}
            return named[0][1].section
        for task, part in named:
            self._move_part(part, (*new, "tasks", task), path)
        self.notes.append(
            f"the folders of {'.'.join(map(str, path))} are the sets {', '.join(task for task, _ in named)}"
        )
        ratios = {task: part.repeats for task, part in named if part.repeats != 1}
        if ratios and not in_training:
            self._drop((*path, "datasets_balance"), "each image is measured once")
        tasks = {task: part.section for task, part in named}
        return {"type": "MultiTaskDataset", "tasks": tasks, **({"ratios": ratios} if ratios and in_training else {})}

    def _validation(self) -> None:
        path, loader = self._loader("dataloader_val")
        _, everywhere = self._take("center_crop")
        everywhere = loader.pop("center_crop", everywhere)
        keys = [key for key in self.datasets if str(key).split("_")[0] in ("val", "test")]
        labels = self.tasks if len(keys) == len(self.tasks) and self.classifies else [None] * len(keys)
        cropped = False
        for key, label in zip(keys, labels, strict=True):
            here: KeyPath = ("datasets", key)
            section = self._section(here, self.datasets[key])
            classify = section.pop("classify", None)
            if classify is False:
                label = None  # this set is not classified
            else:
                self._check_classify((*here, "classify"), classify)
            crop = section.pop("center_crop", everywhere)
            loader_keys = {leaf: section.pop(leaf) for leaf in (*LoaderOptions.model_fields,) if leaf in section}
            if label is not None and _takes_label(section):
                section.setdefault("label", label)
            name = label or str(loader_keys.get("name") or key)
            size = section.get("gt_size", CROP) if crop is True else crop
            section = self._joined(section, here, (*here, "dataset") if crop else here, name, in_training=False)
            if crop:
                section = {"type": "CenterCropDataset", "size": size, "dataset": section}
                self.moved["datasets", key, "dataset"] = here
                self.moved["datasets", key, "size"] = (*here, "center_crop")
                cropped = True
            self.datasets[key] = {**section, **loader_keys}
            self._lay_below(key, {leaf: value for leaf, value in loader.items() if leaf != "use_shuffle"}, path)
        if cropped:
            self.notes.append("center_crop is CenterCropDataset")
        if keys and labels[0] is not None:
            self.notes.append(f"{keys[0]} to {keys[-1]} have the labels of the training sets, in their order")

    def _loader(self, key: str) -> tuple[KeyPath, dict[str, Any]]:
        """A section of loader keys, and its path."""
        path, loader = self._take(key)
        if loader is not None and not isinstance(loader, dict):
            raise DialectError(path, f": expected a mapping of loader keys, got {loader!r}")
        self._leave_out_idle(path or (key,), loader or {})
        return path or (key,), loader or {}

    def _lay_below(self, key: str, loader: Mapping[str, Any], path: KeyPath) -> None:
        """Give a dataset the loader keys that it does not set itself."""
        section = self.datasets.get(key)
        for leaf, value in loader.items() if isinstance(section, dict) else ():
            if section is not None and leaf not in section:
                section[leaf] = value
                self.moved["datasets", key, leaf] = (*path, leaf)

    def _section(self, path: KeyPath, section: Any) -> dict[str, Any]:
        if not isinstance(section, dict):
            raise DialectError(path, f": expected a mapping with `type`, got {section!r}")
        if path[-1] != "train":
            self._leave_out_idle(path, section)
        if section.get("type") not in SETS:
            return section
        self._drop((*path, "scale_range"), "no code reads it", section.pop("scale_range", None) is not None)
        for key in [key for key in SWITCHES if key in section]:
            if section.pop(key):
                self.refused[(*path, key)] = SWITCHES[key]
            else:
                self._drop((*path, key), "it is switched off")
        if _NUMBERED.match(str(path[-1])) or path[-1] == "train":
            self._drop((*path, "center_crop"), "training crops at random", section.pop("center_crop", None) is not None)
        if section["type"] == "PairedImageDataset" and not isinstance(section.get("dataroot_gt"), list):
            balance = section.pop("datasets_balance", None)
            self._drop((*path, "datasets_balance"), "there is one folder", balance is not None)
        if self.is_mask and section["type"] == "PairedImageDenoiseDataset" and "clip" not in section:
            section["clip"] = True
            self.notes.append(f"the noise of {'.'.join(map(str, path))} is clipped, as in MaskDCPT's code")
        return section

    def _leave_out_idle(self, path: KeyPath, section: dict[str, Any]) -> None:
        idle = [key for key in _IDLE_KEYS if key in section]
        for key in idle:
            del section[key]
        if idle:
            where = ".".join(map(str, path))
            self.notes.append(f"{', '.join(idle)} of {where} are ignored, because they have no effect in DCPT's code")

    def _target_task(self) -> None:
        """Transfer: the single training set is the task of this number among the tasks that the classifier knows."""
        path, index = self._take("dataset_idx")
        section = self.datasets.get("train")
        if index is None and isinstance(section, dict) and "dataset_idx" in section:
            path, index = ("datasets", "train", "dataset_idx"), section.pop("dataset_idx")
        if index is None:
            return
        count = _mapping(self.raw, "network_dc").get("num_classes") or 5
        sets = (list(build("degradations", {"type": f"uir:{name}"}).labels) for name in ("dcpt_5d", "dcpt_10d"))
        names = next((labels for labels in sets if len(labels) == count), [])
        if not names:
            raise DialectError(path, f": the tasks of {count} classes have no names; write `label` and train.labels")
        if not isinstance(index, int) or not 0 <= index < count:
            raise DialectError(path, f": expected a whole number from 0 to {count - 1}, got {index!r}")
        self.labels = names
        for key, dataset in self.datasets.items():
            if self.classifies and isinstance(dataset, dict) and _takes_label(dataset):
                dataset.setdefault("label", names[index])
                self.moved["datasets", key, "label"] = path
        self.notes.append(f"dataset_idx {index} is the label {names[index]} out of {', '.join(names)}")

    # --- the rest ---

    def _metrics(self) -> None:
        metrics = _mapping(_mapping(self.raw, "val"), "metrics")
        for key, spec in metrics.items():
            if not isinstance(spec, dict) or "image_range" not in spec:
                continue
            value, kind = spec.pop("image_range"), spec.get("type")
            if not isinstance(kind, str):
                continue  # the checker reports what is wrong with it
            whole = {"calculate_psnr": "PSNR", "calculate_ssim": "SSIM"}.get(kind)
            if value not in (1, 255) or whole is None:
                expected = "1 (not rounded) or 255 (rounded), of calculate_psnr or calculate_ssim"
                raise DialectError(("val", "metrics", key, "image_range"), f": expected {expected}, got {value!r}")
            if value == 1:
                spec["type"], spec["rounding"] = whole, "none"
                spec["color_space"] = "y" if spec.pop("test_y_channel", False) else "rgb"
                self.moved["val", "metrics", key, "color_space"] = ("val", "metrics", key, "test_y_channel")
            self.notes.append(f"{key} measures images that are {'not rounded' if value == 1 else 'rounded to 8 bits'}")

    def _training(self) -> None:
        for section, path in ((self.raw, ()), (self.train, ("train",))):
            clip = section.get("grad_clip")
            if clip is True:
                raise DialectError((*path, "grad_clip"), ": expected the largest norm of the gradient, got true")
            if not clip:
                section.pop("grad_clip", None)  # `false` or 0: off
        loss_keys = [key for key, spec in self.train.items() if str(key).endswith("_opt") and isinstance(spec, dict)]
        for key in loss_keys:
            kind = self.train[key].get("type")
            if self.classifies and kind in ("FocalLoss", "CrossEntropyLoss") and "classify_opt" not in self.train:
                self.train["classify_opt"] = self.train.pop(key)
                self.moved["train", "classify_opt"] = ("train", key)
                self.notes.append(f"{key} is classify_opt")
        self._scheduler(_mapping(self.train, "scheduler"))

    def _scheduler(self, spec: dict[str, Any]) -> None:
        """Translate a cosine schedule with an end for each period."""
        if isinstance(spec.get("eta_min"), list):
            spec |= {"type": "CosineAnnealingRestartCyclicLR", "eta_mins": spec.pop("eta_min")}
            self.moved["train", "scheduler", "eta_mins"] = ("train", "scheduler", "eta_min")
            self.notes.append("eta_min of each period is eta_mins of CosineAnnealingRestartCyclicLR")


def _mapping(section: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A mapping within another; a new empty one if there is none."""
    value = section.get(key)
    return value if isinstance(value, dict) else {}


def _points(network: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The feature points of a network, each with its name in DCPT's code; empty if the network cannot be built."""
    import torch

    if not isinstance(network.get("type"), str):
        return []  # the checker reports what is wrong with it
    try:
        with torch.device("meta"):
            built = build(ARCH_REGISTRY, network)
    except (ValueError, TypeError, RuntimeError, UnknownNameError):
        return []  # as above
    declared = getattr(built, "feature_points", None)
    return list(_published([point.name for point in declared()])) if callable(declared) else []


def _published(names: list[str]) -> Iterator[tuple[str, str]]:
    for index, name in enumerate(names):
        flat = re.sub(r"^decoders\.(\d+)$", r"decoder\1", name)  # NAFNet
        yield name, re.sub(r"^layers\.\d+$", f"decode_layers{index}", flat)  # SwinIR


def _takes_label(section: Mapping[str, Any]) -> bool:
    try:
        return "label" in signature_of(DATASET_REGISTRY.get(str(section.get("type")))).parameters
    except UnknownNameError:
        return False


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

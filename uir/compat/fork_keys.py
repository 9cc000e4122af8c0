"""The option keys of BasicSR's forks (Restormer, NAFNet, X-Restormer, HAT, DAT, ...), as uir's own keys.

One table has each key, its place, and its treatment. A key is replaced only if uir has exactly the same thing, and left
out if no code reads it; otherwise it is refused with a sentence that says what would be right. The keys of a training
method or a dataset that comes from a plugin are not changed: they are the plugin's.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from uir.compat.option_keys import MODEL_KEYS
from uir.config.dialects import Translation, laid_marks
from uir.config.yaml_file import KeyPath, Mark
from uir.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY, Registry, UnknownNameError
from uir.registry.components import build

MODELS = ("ImageCleanModel", "ImageRestorationModel")  # of Restormer and of NAFNet, and of their forks
CLIP = 0.01  # the norm that `use_grad_clip` stands for
PADDED = ("Restormer", "RestormerDCPT", "NAFNet", "NAFNetLocal", "PromptIR")  # their `window_size` is only padding


class _Editor:
    """A file during its translation, and a record of its changes."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.moved: dict[KeyPath, KeyPath] = {}
        self.notes: list[str] = []
        self.reasons: dict[KeyPath, str] = {}
        self.refused: dict[KeyPath, str] = {}
        self.method = str(raw.get("model_type")).removeprefix("basicsr:")
        self.is_forks = self.method in MODELS

    def at(self, path: KeyPath) -> Any:
        """The mapping at a path; an empty one if there is none."""
        value: Any = self.raw
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}

    def drop(self, path: KeyPath, why: str) -> None:
        """Remove a key that has no effect."""
        del self.at(path[:-1])[path[-1]]
        self.reasons[path] = why
        self.notes.append(f"{_dotted(path)} is left out ({why})")

    def refuse(self, path: KeyPath, sentence: str) -> None:
        """Remove a key that has no equivalent in uir."""
        del self.at(path[:-1])[path[-1]]
        self.refused[path] = sentence

    def replace(self, path: KeyPath, keys: Mapping[str, Any]) -> None:
        """Replace a key by other keys of the same section."""
        section = self.at(path[:-1])
        taken = [key for key in keys if key != path[-1] and key in section and section[key] != keys[key]]
        if taken:
            self.refuse(path, f"contradicts {taken[0]} in the same section; keep only {taken[0]}")
            return
        old = section[path[-1]]
        items = [(key, value) for key, value in section.items() if key == path[-1] or key not in keys]
        section.clear()
        for key, value in items:
            section.update(keys if key == path[-1] else {key: value})
        self.moved |= {(*path[:-1], key): path for key in keys if key != path[-1]}
        new = ", ".join(_shown(value) if key == path[-1] else f"{key} {_shown(value)}" for key, value in keys.items())
        self.notes.append(f"{_dotted(path)} {_shown(old)} is {new}")

    def move(self, path: KeyPath, new: KeyPath, value: Any) -> None:
        """Replace a key by one in another section, which must be there."""
        del self.at(path[:-1])[path[-1]]
        self.at(new[:-1])[new[-1]] = value
        self.moved[new] = path
        self.notes.append(f"{_dotted(path)} is {_dotted(new)}")


Act = Callable[[_Editor, KeyPath, Any], None]


def translate(raw: Mapping[str, Any], marks: Mapping[KeyPath, Mark]) -> Translation | None:
    """A merged option mapping in uir's form; None if it has no key of a fork.

    Args:
        raw: the mapping; it is not changed.
        marks: the places where its keys were written.
    """
    editor = _Editor(copy.deepcopy(dict(raw)))
    _number_sections(editor)
    for path, act in _rows(editor.raw):
        section = editor.at(path[:-1])
        if path[-1] in section:
            act(editor, path, section[path[-1]])
    if not (editor.notes or editor.refused):
        return None
    return Translation(
        editor.raw,
        laid_marks(marks, editor.moved),
        editor.moved,
        tuple(editor.notes),
        editor.reasons,
        editor.refused,
        "BasicSR's or a fork's",
    )


def _number_sections(editor: _Editor) -> None:
    """Write NAFNet's `test0` as `test_0`."""
    datasets = editor.at(("datasets",))
    sections = dict(datasets)
    datasets.clear()
    for key, section in sections.items():
        new = re.sub(r"^(val|test)(\d+)$", r"\1_\2", str(key))
        if new == str(key) or new in sections:
            datasets[key] = section
            continue
        datasets[new] = section
        editor.moved["datasets", new] = ("datasets", key)
        editor.notes.append(f"datasets.{key} is datasets.{new}")


def _is_plugins(registry: Registry, name: Any) -> bool:
    """Whether a name of a registry comes from a plugin."""
    if not isinstance(name, str):
        return False
    try:
        return registry.origin_of(registry.get(name)) == "plugin"
    except UnknownNameError:
        return False


def _rows(raw: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Act]]:
    """The rows of the tables that may apply to a file, by the key's path."""
    tables = [_ALWAYS] if _is_plugins(MODEL_REGISTRY, raw.get("model_type")) else [_ALWAYS, _TABLE]
    yield from (
        ((*section, key), act) for table in tables for section, rows in table.items() for key, act in rows.items()
    )
    path = raw.get("path")
    for key in list(path) if isinstance(path, Mapping) else ():
        if str(key).startswith("strict_load_"):
            yield ("path", key), _strict
    datasets = raw.get("datasets")
    for name, dataset in list(datasets.items()) if isinstance(datasets, Mapping) else ():
        if isinstance(dataset, Mapping) and not _is_plugins(DATASET_REGISTRY, dataset.get("type")):
            yield from ((("datasets", name, key), act) for key, act in _DATASET.items())


# --- the treatment of a key ---


def _dead(why: str = "no code reads it") -> Act:
    """A key that has no effect."""
    return lambda editor, path, value: editor.drop(path, why)


def _dead_of_pairs(why: str) -> Act:
    """A key that BasicSR's plain pairs do not read; another dataset may have an argument of this name."""

    def act(editor: _Editor, path: KeyPath, value: Any) -> None:
        if editor.at(path[:-1]).get("type") == "PairedImageDataset":
            editor.drop(path, why)

    return act


def _strict(editor: _Editor, path: KeyPath, value: Any) -> None:
    if value is None:  # for BasicSR an empty value is false, an absent key is true
        editor.replace(path, {str(path[-1]): False})


def _discriminator(editor: _Editor, path: KeyPath, value: Any) -> None:
    keys = MODEL_KEYS.get(editor.method)
    if "network_d" not in editor.raw and (keys is None or path[-1] not in keys.train):
        editor.drop(path, "there is no network_d")


def _fresh_networks(editor: _Editor, path: KeyPath, value: Any) -> None:
    names = map(str, value if isinstance(value, list) else [value])
    if not any(name in editor.raw for name in names):
        editor.drop(path, "it names no network of the file")
    elif editor.method not in MODEL_KEYS or editor.raw.get("model_type") in MODEL_REGISTRY.keys():  # noqa: SIM118
        sentence = "uir resumes all networks of a run; to start from some, use path.pretrain_network_g and so on"
        editor.refuse(path, sentence)


def _neutral(*neutral: Any, why: str, sentence: str) -> Act:
    """A key that has no effect at some values and is refused at others."""

    def act(editor: _Editor, path: KeyPath, value: Any) -> None:
        if any(type(value) is type(known) and value == known for known in (*neutral, None)):
            editor.drop(path, why)
        else:
            editor.refuse(path, sentence)

    return act


def _model(editor: _Editor, path: KeyPath, value: Any) -> None:
    if value not in MODELS:
        return
    editor.replace(path, {"model_type": "SRModel"})
    train = editor.at(("train",))
    if value == "ImageRestorationModel" and train and not {"use_grad_clip", "grad_clip"} & set(train):
        train["grad_clip"] = CLIP
        editor.notes.append(f"train.grad_clip is {CLIP}, which NAFNet's code does unless use_grad_clip is false")


def _grad_clip(editor: _Editor, path: KeyPath, value: Any) -> None:
    if value is True:
        editor.replace(path, {"grad_clip": CLIP})
    elif not value:
        editor.drop(path, "without train.grad_clip gradients are not clipped")
    else:
        editor.refuse(path, f"expected true or false, got {value!r}; the largest norm itself is train.grad_clip")


def _mixing(editor: _Editor, path: KeyPath, value: Any) -> None:
    training_set = editor.at(("datasets", "train"))
    if value in (None, False) or (isinstance(value, Mapping) and not value.get("mixup")):
        editor.drop(path, "no images are mixed")
    elif not isinstance(value, Mapping) or not training_set or "mixup" in training_set:
        editor.refuse(path, "mixing images is a key of the training set: datasets.train.mixup: {beta: 1.2}")
    else:
        mixup = {"beta": value.get("mixup_beta", 1.2), "use_identity": bool(value.get("use_identity", False))}
        editor.move(path, ("datasets", "train", "mixup"), mixup)


def _no_amp(editor: _Editor, path: KeyPath, value: Any) -> None:
    if value is False:  # true is fp16 in one fork and bf16 in another: the checker says what to write
        editor.drop(path, "precision is fp32")


def _schedule(editor: _Editor, path: KeyPath, value: Any) -> None:
    if isinstance(value, Mapping) and value.get("type") == "TrueCosineAnnealingLR":
        editor.replace((*path, "type"), {"type": "CosineAnnealingLR"})


def _flip(editor: _Editor, path: KeyPath, value: Any) -> None:
    if editor.is_forks:  # in other files it is a typing mistake
        editor.replace(path, {"use_hflip": value})


def _geometric(editor: _Editor, path: KeyPath, value: Any) -> None:
    editor.replace(path, {"use_hflip": bool(value), "use_rot": bool(value)})


_SETS = {"Dataset_PairedImage": "PairedImageDataset", "Dataset_GaussianDenoising": "PairedImageDenoiseDataset"}


def _dataset(editor: _Editor, path: KeyPath, value: Any) -> None:
    kind = _SETS.get(value) if isinstance(value, str) else None
    if kind is None:
        return
    section = editor.at(path[:-1])
    channels = (*path[:-1], "in_ch")
    if "in_ch" in section and section["in_ch"] == 3:
        editor.drop(channels, "images are RGB")
    elif "in_ch" in section:
        editor.refuse(channels, "uir's noisy images are RGB; only 3 channels are read")
    editor.replace(path, {"type": kind})


def _task(editor: _Editor, path: KeyPath, value: Any) -> None:
    """What the images of a dataset are for: DAT's code does not read it, MambaIR's creates the input by it."""
    if editor.at(path[:-1]).get("type") != "PairedImageDataset":
        return
    if value in (None, "SR", "classical_sr", "lightweight_sr") or editor.method == "DATModel":
        editor.drop(path, "no code reads it")
        return
    advice = "a dataset that adds noise is {type: PairedImageDenoiseDataset, sigma_type: constant, sigma_range: 25}"
    editor.refuse(path, f"the images of {value!r} are created by MambaIR's own dataset; plug it in, or see: {advice}")


def _noise(editor: _Editor, path: KeyPath, value: Any) -> None:
    if editor.at(path[:-1]).get("type") == "PairedImageDataset":
        editor.drop(path, "it belongs to `task`")


def _padding(editor: _Editor, path: KeyPath, value: Any) -> None:
    """A key for padding images to a multiple: uir's networks declare this multiple themselves."""
    network = editor.at(("network_g",))
    own = _pad_multiple(network)
    if not value or (isinstance(value, int) and (own or 1) % value == 0):
        editor.drop(path, "uir pads images to what network_g needs")
    elif network.get("type") in PADDED and "window_size" not in network:
        editor.move(path, ("network_g", "window_size"), value)
    elif network and own is None and "pad_multiple" not in network:
        editor.move(path, ("network_g", "pad_multiple"), value)
    else:
        editor.refuse(path, f"uir pads images to multiples of {own or 1} for this network_g, not of {value!r}")


def _pad_multiple(network: Mapping[str, Any]) -> int | None:
    """What a network's sides must be multiples of; None if it does not say."""
    import torch

    if not isinstance(network.get("type"), str):
        return 1  # the checker reports what is wrong with it
    try:
        with torch.device("meta"):
            return getattr(build(ARCH_REGISTRY, network), "pad_multiple", None)
    except (ValueError, TypeError, RuntimeError, UnknownNameError):
        return 1  # the checker reports this too


def _use_image(editor: _Editor, path: KeyPath, value: Any) -> None:
    """False stands for metrics of the network's own floats, neither clipped nor rounded."""
    editor.drop(path, "the arguments of the metrics decide whether they round and clip")
    if value is not False:
        return
    for name, spec in editor.at(("val", "metrics")).items():
        known = {"calculate_psnr": "PSNR", "calculate_ssim": "SSIM"}
        kind = known.get(str(spec.get("type"))) if isinstance(spec, dict) else None
        if kind is None:
            continue
        here: KeyPath = ("val", "metrics", name)
        color = "y" if spec.get("test_y_channel") else "rgb"
        if "test_y_channel" in spec:
            editor.replace((*here, "test_y_channel"), {"color_space": color})
        editor.replace((*here, "type"), {"type": kind})
        spec |= {"rounding": "none", "clip": False}
        editor.notes.append(f"{name} measures the network's own floats, neither clipped nor rounded")


def _ensemble(editor: _Editor, path: KeyPath, value: Any) -> None:
    """True stands for the mean over eight flips and turns; it is a control of every predictor."""
    val = editor.at(("val",))
    if not value:
        editor.drop(path, "images are restored once")
    elif value is True and val and "controls" not in val:
        editor.move(path, ("val", "controls"), {"ensemble": 8})
    else:
        editor.refuse(path, "the mean over eight flips and turns is `ensemble: 8` in `val.controls`")


_TILES = "uir tests whole images; `uir restore --tile` restores large ones in tiles"
_OF_METRICS = _dead("each metric of val.metrics has its own")
_ACCUMULATE = _neutral(
    1,
    why="one batch makes a step",
    sentence="accumulation is `train.accumulate`, in which one iteration is one step of the optimizer",
)

# Keys that no training method reads, whatever it is.
_ALWAYS: dict[KeyPath, dict[str, Act]] = {
    ("dist_params",): {"prot": _dead("the key is `port`")},
}
_TABLE: dict[KeyPath, dict[str, Act]] = {
    (): {
        "model_type": _model,
        "print_network": _dead("networks are always described in the log"),
        "remove_norm": _dead(),
        "crop_border": _OF_METRICS,
        "suffix": _dead("val.suffix is read"),
        "save_img": _dead("val.save_img is read"),
        "tile": _neutral(False, why="whole images are tested", sentence=_TILES),
        "ensemble": _ensemble,
        "use_amp": _no_amp,
        "accum_iter": _ACCUMULATE,
    },
    ("path",): {"ignore_resume_networks": _fresh_networks},
    ("train",): {
        "use_grad_clip": _grad_clip,
        "mixing_augs": _mixing,
        "mixup": _neutral(
            False, why="no images are mixed", sentence="NAFNet's code fails with it; see datasets.train.mixup"
        ),
        "net_d_iters": _discriminator,
        "net_d_init_iters": _discriminator,
        "scheduler": _schedule,
        "use_amp": _no_amp,
        "accum_iter": _ACCUMULATE,
        "artifacts_opt": _dead(),
        "losses": _neutral(
            why="there are none",
            sentence="each loss is a key of its own here: pixel_opt: {type: L1Loss, loss_weight: 1}",
        ),
    },
    ("val",): {
        "crop_border": _OF_METRICS,
        "window_size": _padding,
        "padding_size": _padding,
        "use_image": _use_image,
        "rgb2bgr": _neutral(
            True,
            why="images are saved with their colours",
            sentence="uir saves images with their colours; red and blue are never exchanged",
        ),
        "grids": _neutral(False, why="whole images are validated", sentence=_TILES),
        "use_chop": _neutral(False, why="whole images are validated", sentence=_TILES),
        "max_minibatch": _dead("whole images are validated"),
        "trans_num": _dead(),
        "patchwise_testing": _dead(),
        "selfensemble_testing": _dead(),
        **dict.fromkeys(
            ("crop_size_h", "crop_size_w", "crop_size_h_ratio", "crop_size_w_ratio"),
            _neutral(why="whole images are validated", sentence=_TILES),
        ),
    },
}
_DATASET: dict[str, Act] = {
    "type": _dataset,
    "use_flip": _flip,
    "geometric_augs": _geometric,
    "task": _task,
    "noise": _noise,
    "accum_iter": _ACCUMULATE,
    "suffix": _dead_of_pairs("val.suffix is read"),
    "save_img": _dead_of_pairs("val.save_img is read"),
    "crop_border": _dead_of_pairs("each metric of val.metrics has its own"),
    "cache_keys": _dead(),
    "border_mode": _dead(),
}


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

"""BasicSR's option files in their published form, comments and all; only paths and sizes are ours."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
import torch
import yaml

from uir.compat import basicsr_names, load_basicsr
from uir.config.options import load_options
from uir.engine.train_loop import train

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(not basicsr_names(), reason="basicsr is not installed"),
]

HEAD = """
# general settings
name: {name}
model_type: {model}
scale: {scale}
num_gpu: 1  # set num_gpu: 0 for cpu mode
manual_seed: 0

# dataset and data loader settings
datasets:
  train:
    name: DIV2K
    type: PairedImageDataset
    dataroot_gt: {gt}
    dataroot_lq: {lq}
    meta_info_file: {meta}
    # (for lmdb)
    # dataroot_gt: datasets/DIV2K/DIV2K_train_HR_sub.lmdb
    filename_tmpl: '{{}}'
    io_backend:
      type: disk
      # (for lmdb)
      # type: lmdb

    gt_size: {size}
    use_hflip: true
    use_rot: true

    # data loader
    use_shuffle: true
    num_worker_per_gpu: 0
    batch_size_per_gpu: 2
    dataset_enlarge_ratio: 100
    prefetch_mode: ~

  val:
    name: Set5
    type: PairedImageDataset
    dataroot_gt: {gt}
    dataroot_lq: {lq}
    io_backend:
      type: disk
"""

TAIL = """
# validation settings
val:
  val_freq: !!float 5e3
  save_img: false

  metrics:
    psnr: # metric name, can be arbitrary
      type: calculate_psnr
      crop_border: 4
      test_y_channel: false
    ssim:
      type: calculate_ssim
      crop_border: 4
      test_y_channel: false

# logging settings
logger:
  print_freq: 1
  save_checkpoint_freq: !!float 5e3
  use_tb_logger: true
  wandb:
    project: ~
    resume_id: ~

# dist training settings
dist_params:
  backend: nccl
  port: 29500
"""

MSRRESNET = """
# network structures
network_g:
  type: MSRResNet
  num_in_ch: 3
  num_out_ch: 3
  num_feat: 8
  num_block: 2
  upscale: 4

# path
path:
  pretrain_network_g: ~
  strict_load_g: true
  resume_state: ~

# training settings
train:
  ema_decay: 0.999
  optim_g:
    type: Adam
    lr: !!float 2e-4
    weight_decay: 0
    betas: [0.9, 0.99]

  scheduler:
    type: CosineAnnealingRestartLR
    periods: [250000, 250000, 250000, 250000]
    restart_weights: [1, 1, 1, 1]
    eta_min: !!float 1e-7

  total_iter: 10
  warmup_iter: -1  # no warm up

  # losses
  pixel_opt:
    type: L1Loss
    loss_weight: 1.0
    reduction: mean
"""

EDSR = """
# network structures
network_g:
  type: EDSR
  num_in_ch: 3
  num_out_ch: 3
  num_feat: 8
  num_block: 2
  upscale: 4
  res_scale: 1
  img_range: 255.
  rgb_mean: [0.4488, 0.4371, 0.4040]

# path
path:
  pretrain_network_g: ~
  strict_load_g: true
  resume_state: ~

# training settings
train:
  ema_decay: 0.999
  optim_g:
    type: Adam
    lr: !!float 1e-4
    weight_decay: 0
    betas: [0.9, 0.99]

  scheduler:
    type: MultiStepLR
    milestones: [200000]
    gamma: 0.5

  total_iter: 10
  warmup_iter: -1  # no warm up

  # losses
  pixel_opt:
    type: L1Loss
    loss_weight: 1.0
    reduction: mean
"""

ESRGAN = """
# network structures
network_g:
  type: RRDBNet
  num_in_ch: 3
  num_out_ch: 3
  num_feat: 8
  num_block: 1

network_d:
  type: VGGStyleDiscriminator
  num_in_ch: 3
  num_feat: 4

# path
path:
  pretrain_network_g: ~
  strict_load_g: true
  resume_state: ~

# training settings
train:
  ema_decay: 0.999
  optim_g:
    type: Adam
    lr: !!float 1e-4
    weight_decay: 0
    betas: [0.9, 0.99]
  optim_d:
    type: Adam
    lr: !!float 1e-4
    weight_decay: 0
    betas: [0.9, 0.99]

  scheduler:
    type: MultiStepLR
    milestones: [50000, 100000, 200000, 300000]
    gamma: 0.5

  total_iter: 10
  warmup_iter: -1  # no warm up

  # losses
  pixel_opt:
    type: L1Loss
    loss_weight: !!float 1e-2
    reduction: mean
  perceptual_opt:
    type: PerceptualLoss
    layer_weights:
      'conv5_4': 1  # before relu
    vgg_type: vgg19
    use_input_norm: true
    range_norm: false
    perceptual_weight: 1.0
    style_weight: 0
    criterion: l1
  gan_opt:
    type: GANLoss
    gan_type: vanilla
    real_label_val: 1.0
    fake_label_val: 0.0
    loss_weight: !!float 5e-3

  net_d_iters: 1
  net_d_init_iters: 0
"""


@pytest.fixture
def project(tmp_path: Path, photographs: list[Path]) -> Path:
    """A project folder with x4 pairs of 128×128 and a meta-info file."""
    lines = []
    for index, path in enumerate(photographs[:4]):
        crop = cv2.imread(str(path))[40:168, 60:188]
        for name, image in (("gt", crop), ("lq", cv2.resize(crop, (32, 32), interpolation=cv2.INTER_AREA))):
            (tmp_path / "datasets" / name).mkdir(exist_ok=True, parents=True)
            cv2.imwrite(str(tmp_path / "datasets" / name / f"{index}.png"), image)
        lines.append(f"{index}.png (128,128,3)")
    (tmp_path / "meta.txt").write_text("\n".join(lines))
    (tmp_path / "options").mkdir()
    return tmp_path


def trained(project: Path, model: str, body: str, scale: int = 4) -> list[dict[str, float]]:
    head = HEAD.format(
        name="001_published", model=model, scale=scale, gt="datasets/gt", lq="datasets/lq", meta="meta.txt", size=128
    )
    file = project / "options" / "train.yml"
    file.write_text(head + body + TAIL)
    folder = train(load_options(file))
    assert (folder / "models" / "net_g_latest.pth").exists()
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("body", [MSRRESNET, EDSR], ids=["MSRResNet", "EDSR"])
@pytest.mark.parametrize("model", ["SRModel", "basicsr:SRModel"])
def test_the_published_files_train_under_either_model(project: Path, model: str, body: str) -> None:
    rows = trained(project, model, body)
    assert [row["iter"] for row in rows if "l_pix" in row] == list(range(1, 11))
    assert set(rows[-1]["metrics"]) == {"psnr", "ssim"}  # type: ignore[call-overload]


def test_both_models_start_alike(project: Path) -> None:
    """The same seed draws the same weights and the same batches for basicsr's class and for uir's."""
    first = [trained(project, model, MSRRESNET)[0]["l_pix"] for model in ("SRModel", "basicsr:SRModel")]
    assert first[0] == pytest.approx(first[1], abs=1e-6)


def vgg_file(folder: Path) -> None:
    """Torchvision's VGG19 file with small random weights; the classifier, which nobody reads, takes no room."""
    load_basicsr()
    from torchvision.models import vgg19

    with torch.device("meta"):
        shapes = {key: value.shape for key, value in vgg19(weights=None).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, shape in shapes.items():
        if key.startswith("features"):
            fan_in = max(1, int(torch.tensor(shape[1:]).prod()))
            state[key] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        else:
            state[key] = torch.zeros(1).expand(shape)
    folder.mkdir(parents=True)
    torch.save(state, folder / "vgg19-dcbb9e9d.pth")


@pytest.mark.parametrize("model", ["ESRGANModel", "basicsr:ESRGANModel"])
def test_esrgan_as_published(project: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published file under uir's ESRGANModel and under basicsr's own; both find VGG's weights below the folder."""
    vgg_file(project / "experiments" / "pretrained_models")
    monkeypatch.chdir(project)
    rows = trained(project, model, ESRGAN)
    losses = [row for row in rows if "l_g_pix" in row]
    assert len(losses) == 10
    assert set(losses[0]) >= {"l_g_pix", "l_g_percep", "l_g_gan", "l_d_real", "l_d_fake"}


def test_a_basicsr_run_is_resumed(project: Path) -> None:
    """basicsr's own resume needs CUDA; here it goes on at the iteration where it stopped, on the CPU."""
    file = project / "options" / "train.yml"
    head = HEAD.format(
        name="r", model="basicsr:SRModel", scale=4, gt="datasets/gt", lq="datasets/lq", meta="meta.txt", size=64
    )
    file.write_text(head + MSRRESNET + TAIL)
    force = ["logger:save_checkpoint_freq=4", "logger:use_tb_logger=false"]
    whole = train(load_options(file, force=[*force, "name=whole"]))
    train(load_options(file, force=[*force, "name=parts", "train:total_iter=8"]))
    parts = train(load_options(file, force=[*force, "name=parts"]), auto_resume=True)
    rows = [[json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()] for f in (whole, parts)]
    losses = [[row["l_pix"] for row in found if "l_pix" in row] for found in rows]
    assert losses[0] == losses[1]


def test_uir_s_model_continues_a_run_of_basicsr_s(project: Path) -> None:
    """Networks, moving average, Adam's moments and the schedule go on from basicsr's own .pth and .state."""
    file = project / "options" / "train.yml"
    head = HEAD.format(
        name="r", model="basicsr:SRModel", scale=4, gt="datasets/gt", lq="datasets/lq", meta="meta.txt", size=64
    )
    file.write_text(head + EDSR.replace("milestones: [200000]", "milestones: [6]") + TAIL)
    force = ["logger:save_checkpoint_freq=4", "logger:use_tb_logger=false", "logger:print_freq=1"]
    whole = train(load_options(file, force=[*force, "name=whole"]))
    parts = train(load_options(file, force=[*force, "name=parts", "train:total_iter=8"]))
    state = parts / "training_states" / "8.state"
    content = torch.load(state, weights_only=True)
    torch.save(
        {key: content[key] for key in ("epoch", "iter", "optimizers", "schedulers")}, state
    )  # as basicsr writes it
    (parts / "training_states" / "4.state").unlink()
    continued = train(load_options(file, force=[*force, "name=parts", "model_type=SRModel"]), auto_resume=True)
    losses = []
    for folder in (whole, continued):
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        losses.append([(row["iter"], row["l_pix"], row["lr"]) for row in rows if "l_pix" in row])
    assert [row[0] for row in losses[1]] == list(range(1, 11))
    for one, other in zip(*losses, strict=True):
        assert one[1] == pytest.approx(other[1], abs=1e-6)
        assert one[2] == pytest.approx(other[2])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which it runs")
def test_a_class_that_hard_codes_cuda_says_so(project: Path) -> None:
    degradation = {
        "resize_prob": [0.2, 0.7, 0.1], "resize_range": [0.15, 1.5], "gaussian_noise_prob": 0.5, "noise_range": [1, 30],
        "poisson_scale_range": [0.05, 3], "gray_noise_prob": 0.4, "jpeg_range": [30, 95], "gt_usm": True,
        "high_order_degradation": False,
    }  # fmt: skip
    force = [f"{key}={json.dumps(value)}" for key, value in degradation.items()]
    file = project / "options" / "train.yml"
    head = HEAD.format(
        name="r", model="basicsr:RealESRNetModel", scale=4, gt="datasets/gt", lq="datasets/lq", meta="meta.txt", size=64
    )
    file.write_text(head + MSRRESNET + TAIL)
    with pytest.raises(ValueError, match="RealESRNetModel hard-codes CUDA and cannot run on this machine"):
        train(load_options(file, force=force))


def test_a_video_model_of_basicsr_s_trains_and_validates_on_the_cpu(project: Path, photographs: list[Path]) -> None:
    """VideoRecurrentModel with BasicVSR on a REDS-like folder of frames; its metrics are means over two folders."""
    sharp = cv2.imread(str(photographs[0]))[:256, :256]
    for kind, image in (("gt", sharp), ("lq", cv2.resize(sharp, (64, 64), interpolation=cv2.INTER_AREA))):
        for clip in ("001", "002"):
            folder = project / "reds" / kind / clip
            folder.mkdir(parents=True)
            for frame in range(5):
                cv2.imwrite(str(folder / f"{frame:08d}.png"), image)
    (project / "reds" / "meta.txt").write_text("001 5 (256,256,3)\n002 5 (256,256,3)\n")
    options = {
        "name": "video", "model_type": "VideoRecurrentModel", "scale": 4, "num_gpu": 0, "manual_seed": 0,
        "datasets": {
            "train": {
                "name": "REDS", "type": "REDSRecurrentDataset", "dataroot_gt": "reds/gt", "dataroot_lq": "reds/lq",
                "meta_info_file": "reds/meta.txt", "val_partition": "REDS4", "test_mode": False, "num_frame": 3,
                "gt_size": 256, "interval_list": [1], "random_reverse": False, "use_hflip": True, "use_rot": True,
                "io_backend": {"type": "disk"}, "batch_size_per_gpu": 1, "dataset_enlarge_ratio": 5,
            },
            **{f"val_{name}": {
                "name": name, "type": "VideoRecurrentTestDataset", "dataroot_gt": "reds/gt", "dataroot_lq": "reds/lq",
                "cache_data": True, "num_frame": 2, "io_backend": {"type": "disk"},
            } for name in ("REDS4", "Vid4")},
        },
        "network_g": {"type": "BasicVSR", "num_feat": 4, "num_block": 1},
        "path": {},
        "train": {
            "ema_decay": 0.999, "fix_flow": 1, "flow_lr_mul": 0.125, "total_iter": 2,
            "optim_g": {"type": "Adam", "lr": 2.0e-4, "betas": [0.9, 0.99]},
            "scheduler": {"type": "CosineAnnealingRestartLR", "periods": [10], "eta_min": 1.0e-7},
            "pixel_opt": {"type": "CharbonnierLoss", "loss_weight": 1.0, "reduction": "mean"},
        },
        "val": {"val_freq": 2, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 0}}},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 100},
    }  # fmt: skip
    file = project / "options" / "video.yml"
    file.write_text(yaml.safe_dump(options))
    folder = train(load_options(file))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["iter"] for row in rows if "l_pix" in row] == [1, 2]
    measured = {row["dataset"]: row["metrics"]["psnr"] for row in rows if "dataset" in row}
    assert list(measured) == ["REDS4", "Vid4"]
    assert all(0 < value < 60 for value in measured.values())

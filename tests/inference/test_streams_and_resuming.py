"""`uir restore` in pipes, on patterns, after an interruption, and in several processes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from arch_configs import ARCH_CONFIGS
from PIL import Image
from small_networks import build_network
from small_release import small_release
from torch import nn

from uir.cli import main, run
from uir.core.checkpoint import write_release
from uir.core.files import is_unfinished, temporary_beside
from uir.core.images import read_image, write_image
from uir.core.progress import progress_bar
from uir.inference.image_files import _Progress, restore_files
from uir.inference.image_plan import find_images
from uir.inference.restorer import Restorer

ROOT = Path(__file__).resolve().parents[2]
SAME = Restorer(nn.Identity())


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)


def folder_of(folder: Path, count: int) -> Path:
    for index in range(count):
        write_image(folder / f"{index}.png", pixels(index))
    return folder


class Stream(io.TextIOWrapper):
    def __init__(self, data: bytes = b"") -> None:
        super().__init__(io.BytesIO(data))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_photograph_goes_from_standard_input_to_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    model = small_release(tmp_path / "it.safetensors")
    given = io.BytesIO()
    Image.fromarray(pixels()).save(given, kind, dpi=(300, 300))
    output = Stream()
    monkeypatch.setattr(sys, "stdin", Stream(given.getvalue()))
    monkeypatch.setattr(sys, "stdout", output)
    run(["restore", "-", "-o", "-", "--model", str(model)])
    restored = Image.open(io.BytesIO(output.buffer.getvalue()))
    assert restored.format == kind
    assert restored.info["dpi"][0] == pytest.approx(300, abs=0.1)
    assert np.array_equal(np.asarray(restored), Restorer.from_pretrained(model)(pixels()))


def test_both_ends_of_a_pipe_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["-", "-o", str(tmp_path / "out")], ["a.png", "-o", "-"], ["-", "a.png", "-o", "-"]):
        with pytest.raises(SystemExit) as stopped:
            main(["restore", *words])
        assert stopped.value.code == 2
        assert "uir restore - -o - < in > out" in capsys.readouterr().err


def test_a_pattern_names_images(tmp_path: Path) -> None:
    folder_of(tmp_path / "in" / "deep", 2)
    folder_of(tmp_path / "in", 1)
    (tmp_path / "in" / "0.txt").touch()
    images, left_out = find_images([tmp_path / "in" / "0.*"])
    assert list(images) == [str(tmp_path / "in" / "0.png")]
    assert list(left_out) == [str(tmp_path / "in" / "0.txt")]
    assert len(find_images([tmp_path / "**" / "*.png"])[0]) == 3
    with pytest.raises(ValueError, match="no file has such a name"):
        find_images([tmp_path / "*.webp"])


def test_an_interrupted_folder_goes_on_where_it_was(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 3)
    restore_files(SAME, tmp_path / "in" / "1.png", tmp_path / "out")
    before = (tmp_path / "out" / "1.png").stat().st_mtime_ns
    outcome = restore_files(SAME, tmp_path / "in", tmp_path / "out", resume=True)
    assert [file.name for file in outcome.written] == ["0.png", "2.png"]
    assert [Path(file).name for file in outcome.done] == ["1.png"]
    assert (tmp_path / "out" / "1.png").stat().st_mtime_ns == before
    assert "1 image restored before, left as they are" in outcome.summary(tmp_path / "out")
    again = restore_files(SAME, tmp_path / "in", tmp_path / "out", resume=True)
    assert again.summary(tmp_path / "out") == "all 3 images were restored before; nothing was left to do"
    swept = restore_files(SAME, tmp_path / "in", tmp_path / "out", sweep="fidelity=0:1:2", resume=True)
    assert len(swept.written) == 9  # with the grid of each


def test_what_a_killed_run_had_begun_is_done_again_and_leaves_no_trace(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 2)
    child = (
        "import os, signal\n"
        "from torch import nn\n"
        "from uir.core import png_writing\n"
        "from uir.inference.image_files import restore_files\n"
        "from uir.inference.restorer import Restorer\n"
        "def killed(rows):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "png_writing._filtered = killed\n"
        "restore_files(Restorer(nn.Identity()), 'in', 'out')\n"
    )
    stopped = subprocess.run(
        [sys.executable, "-c", child], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert stopped.returncode == -signal.SIGKILL
    (begun,) = (tmp_path / "out").iterdir()  # the head of a PNG, under a hidden name
    assert is_unfinished(begun)
    other = temporary_beside(tmp_path / "out" / "other.png", ".1")
    other.touch()  # somebody else's
    outcome = restore_files(SAME, tmp_path / "in", tmp_path / "out", resume=True)
    assert not outcome.failed
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"0.png", "1.png", other.name}
    for index in range(2):
        assert np.array_equal(read_image(tmp_path / "out" / f"{index}.png"), pixels(index))


def test_a_photograph_in_inks_is_converted_and_that_is_said(tmp_path: Path) -> None:
    Image.fromarray(pixels()).convert("CMYK").save(tmp_path / "inks.jpg")
    palette = Image.fromarray(pixels()).quantize(16)
    palette.save(tmp_path / "palette.png")
    outcome = restore_files(SAME, [tmp_path / "inks.jpg", tmp_path / "palette.png"], tmp_path / "out")
    assert outcome.notes == {
        str(tmp_path / "inks.jpg"): "CMYK, converted to RGB",
        str(tmp_path / "palette.png"): "palette, converted to RGB",
    }
    assert "inks.jpg: CMYK, converted to RGB" in outcome.summary(tmp_path / "out")
    assert np.array_equal(read_image(tmp_path / "out" / "palette.png"), np.asarray(palette.convert("RGB")))


def test_a_file_keeps_its_profile_exif_and_resolution(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    Image.fromarray(pixels()).save(tmp_path / "a.jpg", icc_profile=profile, exif=exif, dpi=(240, 240))
    (written,) = restore_files(SAME, tmp_path / "a.jpg", tmp_path / "out").written
    restored = Image.open(written)
    assert restored.info["icc_profile"] == profile
    assert restored.getexif()[0x010F] == "a camera"
    assert restored.info["dpi"] == pytest.approx((240, 240), abs=0.1)


def test_progress_in_megapixels_moves_within_an_image_and_expects_the_others_to_be_as_large() -> None:
    bar = progress_bar(unit="MP", visible=False)
    progress = _Progress(bar, 4)
    (task,) = bar.tasks
    progress.begin(2_000_000)
    bands = progress.over([np.zeros((1000, 4000, 3), np.uint8)] * 2, scale=2)
    next(bands)
    next(bands)
    assert (task.completed, task.total) == (1.0, 8.0)
    assert list(bands) == []
    assert task.completed == 2.0
    progress.finish()
    progress.begin(4_000_000)
    assert (task.completed, task.total, task.fields["note"]) == (2.0, 12.0, "image 2 of 4")


def torchrun(tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "uir"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    arguments = ["restore", "in", "-o", "out", "--model", "it.safetensors", "--device", "cpu", *words]
    return subprocess.Popen(
        [*command, *arguments], cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.slow
def test_two_processes_share_the_images_and_go_on_after_one_was_killed(tmp_path: Path) -> None:
    small_release(tmp_path / "it.safetensors")
    folder_of(tmp_path / "in", 5)
    (tmp_path / "plugin.py").write_text(
        "import os, signal\n"
        "from uir.inference.restorer import Restorer\n"
        "bands = Restorer.bands\n"
        "def dies(self, *args, **controls):\n"
        "    if os.environ['RANK'] == '1' and controls.get('name') == '3':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return bands(self, *args, **controls)\n"
        "Restorer.bands = dies\n"
    )
    killed = torchrun(tmp_path, "--plugin", "plugin.py")
    killed.communicate(timeout=240)
    assert killed.returncode != 0
    there = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    assert "1.png" in there
    assert "3.png" not in there
    time.sleep(0.01)
    resumed = torchrun(tmp_path, "--resume", "--json")
    out, err = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, err
    outcome = json.loads(out)  # one process prints, once
    restored = [Path(row["file"]).name for row in outcome["restored"]]
    assert sorted(restored) == sorted({f"{index}.png" for index in range(5)} - set(there))
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in there} == there
    restorer = Restorer.from_pretrained(tmp_path / "it.safetensors", device="cpu")
    for index in range(5):
        assert np.array_equal(read_image(tmp_path / "out" / f"{index}.png"), restorer(pixels(index)))


@pytest.mark.slow
def test_two_processes_draw_the_noise_that_one_draws(tmp_path: Path) -> None:
    arch = {"type": "DiffUIR", **ARCH_CONFIGS["DiffUIR"]}
    state = build_network("DiffUIR", moved=0.05).state_dict()
    write_release(tmp_path / "it.safetensors", {"g": (state, {"arch": arch, "scale": 1, "role": "g"})})
    folder_of(tmp_path / "in", 3)
    settings = ("--set", "sampler=ddim", "--set", "eta=1", "--set", "start_noise=1")
    both = torchrun(tmp_path, *settings)
    _, err = both.communicate(timeout=240)
    assert both.returncode == 0, err
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    restorer = Restorer.from_pretrained(tmp_path / "it.safetensors", device="cpu")
    controls = {"sampler": "ddim", "eta": 1.0, "start_noise": 1.0}
    try:
        for index in reversed(range(3)):  # in another order, too
            alone = restorer(pixels(index), name=str(index), **controls)
            assert np.array_equal(read_image(tmp_path / "out" / f"{index}.png"), alone)
        assert not np.array_equal(restorer(pixels(0), name="another", **controls), alone)
    finally:
        torch.set_num_threads(threads)

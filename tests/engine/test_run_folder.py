"""Nothing of a user's is moved or lost: what a run does with folders that are there already."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from uir.cli import main
from uir.config.options import OptionFile, load_options
from uir.core.files import remove_unfinished, temporary_beside
from uir.core.locking import locked
from uir.engine.run import open_run
from uir.engine.run_folder import _is_inside, check_start, is_run, run_lock
from uir.engine.train_loop import train

Write = Callable[..., Path]


def begin(loaded: OptionFile, state: Path | None = None) -> Path:
    """Open a run as training does, without the training."""
    return open_run(loaded, torch.device("cpu"), resuming=check_start(loaded, state))


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# --- where a run goes ---


@pytest.mark.parametrize(("is_train", "key"), [(True, "experiments_root"), (False, "results_root")])
@pytest.mark.parametrize(
    ("given", "place"), [("all_runs", "all_runs/small"), ("all_runs/small", "all_runs/small"), ("", "small")]
)
def test_a_root_is_the_folder_of_all_runs(
    write_options: Write, is_train: bool, key: str, given: str, place: str
) -> None:
    loaded = load_options(write_options({f"path.{key}": given}), is_train=is_train)
    assert loaded.run_dir == loaded.root / place


def test_a_run_leaves_its_neighbours_in_a_root_alone(write_options: Write, tmp_path: Path) -> None:
    root = tmp_path / "all_runs"
    (root / "other").mkdir(parents=True)
    (root / "other" / "weights.pth").write_bytes(b"x")
    loaded = load_options(write_options({"path.experiments_root": str(root)}))
    begin(loaded)
    begin(loaded)
    assert (root / "other" / "weights.pth").exists()
    archived = [name for name in os.listdir(root) if name.startswith("small_archived_")]
    assert len(archived) == 1
    assert sorted(set(os.listdir(root)) - set(archived)) == ["other", "small"]


# --- what is moved ---


@pytest.mark.parametrize("record", [None, "{}", '{"versions": {"torch": "2"}}', "[1]", "not json"])
def test_a_folder_that_is_not_uir_s_stays(write_options: Write, record: str | None) -> None:
    loaded = load_options(write_options())
    (loaded.run_dir / "models").mkdir(parents=True)
    if record is not None:
        (loaded.run_dir / "run.json").write_text(record)
    before = contents(loaded.run_dir.parent)
    with pytest.raises(ValueError, match=r"small is not empty and holds no run\.json of uir"):
        begin(loaded)
    assert contents(loaded.run_dir.parent) == before


def test_a_file_in_the_place_of_the_folder_is_named(write_options: Write) -> None:
    loaded = load_options(write_options())
    loaded.run_dir.parent.mkdir()
    loaded.run_dir.write_text("mine")
    with pytest.raises(ValueError, match="small is a file"):
        begin(loaded)


def test_tensorboard_folders_of_others_stay(write_options: Write) -> None:
    loaded = load_options(write_options({"logger.use_tb_logger": True}))
    events = loaded.root / "tb_logger" / "small"
    begin(loaded)
    begin(loaded)  # its own may be put aside
    assert len(list(events.parent.glob("small_archived_*"))) == 1
    (events / "run.json").unlink()
    (events / "events.out.tfevents.1").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"tb_logger/small is not empty and holds no run\.json"):
        begin(loaded)
    assert is_run(loaded.run_dir)


@pytest.mark.parametrize(
    "key", ["datasets.val.dataroot_gt", "datasets.train.meta_info_file", "val.probes", "path.pretrain_network_g"]
)
def test_what_is_read_is_not_moved(write_options: Write, key: str) -> None:
    folder = begin(load_options(write_options()))
    needed = folder / "kept"
    needed.mkdir() if "file" not in key and "network" not in key else needed.write_text("")
    change = {"knn": {"images": "experiments/small/kept"}} if "probes" in key else "experiments/small/kept"
    loaded = load_options(write_options({key: change}))
    with pytest.raises(ValueError, match=rf"{key}.*: .*kept is in the folder of run 'small'"):
        begin(loaded)
    assert needed.exists()


def test_data_behind_a_link_in_the_folder_are_not_moved(write_options: Write, pair_folders: Path) -> None:
    folder = begin(load_options(write_options()))
    (folder / "linked").symlink_to(pair_folders / "gt")
    loaded = load_options(write_options({"datasets.val.dataroot_gt": "experiments/small/linked"}))
    with pytest.raises(ValueError, match=r"datasets\.val\.dataroot_gt: .*linked is in the folder"):
        begin(loaded)


def test_option_files_in_the_folder_are_not_moved(write_options: Write) -> None:
    first = write_options()
    folder = begin(load_options(first))
    above = first.with_name("above.yml")
    above.write_text("base: ../experiments/small/options.yml\nplugins: [./small_net.py]\n")
    for file in (above, folder / "options.yml"):
        with pytest.raises(ValueError, match=r"the option file: .*options\.yml is in the folder of run 'small'"):
            begin(load_options(file, root=first.parents[1]))
    assert is_run(folder)


def test_another_run_in_the_folder_is_not_moved(write_options: Write) -> None:
    file = write_options()
    folder = begin(load_options(file))
    inner = begin(load_options(file, force=["name=inner", f"path:experiments_root={folder}"]))
    with pytest.raises(ValueError, match="inner is another run in the folder of run 'small'"):
        begin(load_options(file))
    assert is_run(inner)


# --- going on from another run's state ---


@pytest.mark.thorough
def test_a_state_of_another_run_leaves_this_run_s_checkpoints(write_options: Write) -> None:
    file = write_options()
    other = train(load_options(file, force=["name=other", "train:total_iter=3"]))
    folder = train(load_options(file))
    before = contents(folder)
    state = f"path:resume_state={other / 'training_states' / '3.state'}"
    train(load_options(file, force=[state, "train:total_iter=4"]))
    kept = next(folder.parent.glob("small_archived_*"))
    assert contents(kept) == before
    assert [json.loads(line)["iter"] for line in (folder / "metrics.jsonl").read_text().splitlines()] == [4, 4]
    assert not list(other.parent.glob("other_archived_*"))


def test_newer_checkpoints_of_a_folder_that_is_not_uir_s_stay(write_options: Write) -> None:
    loaded = load_options(write_options())
    states = loaded.run_dir / "training_states"
    states.mkdir(parents=True)
    for number in (3, 6):
        (states / f"{number}.state").write_bytes(b"")
    with pytest.raises(ValueError, match=r"6\.state is newer than 3\.state and would be removed"):
        check_start(loaded, states / "3.state")
    assert check_start(loaded, states / "6.state")


# --- two runs at once ---


@pytest.mark.thorough
def test_the_second_run_of_a_name_is_refused_with_what_runs(
    write_options: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_options({"logger.use_tb_logger": True})
    loaded = load_options(file)
    begin(loaded)
    before = contents(loaded.root)
    capsys.readouterr()
    for kind, command in ((True, "train"), (False, "test")):
        with run_lock(load_options(file, is_train=kind)), pytest.raises(SystemExit) as stopped:
            main([command, "-opt", str(file)])
        assert stopped.value.code == 2
        said = capsys.readouterr().err
        assert f"small is in use: process {os.getpid()} on " in said
        assert " has worked there since 20" in said
        assert said.count("\n") == 1
    after = {name for name in contents(loaded.root) if not Path(name).name.startswith(".")}
    assert after - {"results"} == {name for name in before if not Path(name).name.startswith(".")}


def test_runs_that_share_only_the_tensorboard_folder_are_refused_too(write_options: Write) -> None:
    file = write_options({"logger.use_tb_logger": True})
    elsewhere = load_options(file, force=["path:experiments_root=elsewhere"])
    with (
        run_lock(load_options(file)),
        pytest.raises(ValueError, match="tb_logger/small is in use"),
        run_lock(elsewhere),
    ):
        pass
    with run_lock(elsewhere):  # and what was held by the refused one is free
        pass


HOLD = """
import sys, time
from pathlib import Path
from uir.core.locking import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_killed_run_is_free(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "x"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=f"x is in use: process {holder.pid} on"), locked(folder):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with locked(folder):
        pass
    assert not folder.exists()


# --- what a killed run left ---


def test_unfinished_files_of_a_killed_run_are_removed(write_options: Write) -> None:
    loaded = load_options(write_options())
    folder = begin(loaded)
    stale = [temporary_beside(folder / name, ".123") for name in ("models/net_g_3.pth", "options.yml", "no_suffix")]
    own = [folder / "models" / name for name in (".net.part.pth", "a.pth.1.part.pth", ".x.pth.1.part.state")]
    for file in [*stale, *own]:
        file.write_bytes(b"")
    begin(loaded)
    kept = next(folder.parent.glob("small_archived_*"))
    for place in (folder, kept):
        assert not [file for file in stale if (place / file.relative_to(folder)).exists()]
    assert all((kept / file.relative_to(folder)).exists() for file in own)


def test_a_run_killed_before_its_record_was_written_is_in_nobody_s_way(write_options: Write) -> None:
    loaded = load_options(write_options())
    loaded.run_dir.mkdir(parents=True)
    temporary_beside(loaded.run_dir / "run.json", ".77").write_text("{")
    begin(loaded)
    assert os.listdir(loaded.run_dir.parent) == ["small"]
    assert not list(loaded.run_dir.glob(".*"))


def test_unfinished_files_are_looked_for_below_one_folder_only(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    outside = temporary_beside(tmp_path / "x.pth", ".1")
    outside.write_bytes(b"")
    remove_unfinished(tmp_path / "a")
    assert outside.exists()


def test_what_lies_in_a_folder_is_found_through_links_too(tmp_path: Path) -> None:
    inside, outside = tmp_path / "run" / "a.pth", tmp_path / "other" / "b.pth"
    for file in (inside, outside):
        file.parent.mkdir()
        file.touch()
    (tmp_path / "link").symlink_to(inside)  # would point to nothing
    (tmp_path / "run" / "linked.pth").symlink_to(outside)  # would be moved itself
    run = tmp_path / "run"
    found = {name: _is_inside(tmp_path / name, run) for name in ("run/a.pth", "link", "run/linked.pth", "other/b.pth")}
    assert found == {"run/a.pth": True, "link": True, "run/linked.pth": True, "other/b.pth": False}
    assert not _is_inside(run / "missing.pth", run)

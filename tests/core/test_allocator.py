"""Freed memory stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from uir.core.allocator import keep_freed_memory

FAULTS = """
import resource, sys
import torch
from uir.core.allocator import keep_freed_memory
from uir.registry.components import build
if sys.argv[1] == "keep":
    assert keep_freed_memory({})
torch.set_num_threads(1)
sizes = {"width": 16, "enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]}
network = build("archs", {"type": "NAFNet", **sizes})
for step in range(8):
    if step == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    network(torch.rand(4, 3, 64, 64)).mean().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_a_step_of_training_finds_the_memory_of_the_step_before() -> None:
    keeping, plain = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "plain")
    )
    assert keeping < plain / 4


HUGE = """
from pathlib import Path
import torch
from uir.core.allocator import keep_freed_memory
assert keep_freed_memory({}) and keep_freed_memory({})
kept = [torch.ones(4 * 2**20) for _ in range(4)]
lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("AnonHugePages")))
"""


def has_huge_pages() -> bool:
    file = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return file.exists() and "[never]" not in file.read_text()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
@pytest.mark.skipif(not has_huge_pages(), reason="this system has no huge pages")
def test_tensors_lie_in_huge_pages() -> None:
    done = subprocess.run([sys.executable, "-c", HUGE], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 2**15  # KiB: half of the four tensors' 64 MiB


@pytest.mark.parametrize("environment", [{"MALLOC_TRIM_THRESHOLD_": "1"}, {"GLIBC_TUNABLES": "glibc.malloc.check=1"}])
def test_a_users_own_settings_stay(environment: dict[str, str]) -> None:
    assert not keep_freed_memory(environment)

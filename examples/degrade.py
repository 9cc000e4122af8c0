"""Degrade a photograph, and repeat it by its record: python examples/degrade.py PHOTO RESULT"""

import sys

from uir import load_degradation, replay
from uir.core.images import read_rgb, to_tensor, write_image

photograph = to_tensor(read_rgb(sys.argv[1]))  # [3, height, width] in [0, 1]
degraded, record = load_degradation("GaussianNoise")(photograph, seed=7)
print(record.to_json())
assert replay(record, photograph).equal(degraded)
write_image(sys.argv[2], degraded)

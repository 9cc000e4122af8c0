"""Say which degradation photographs have: python examples/diagnose.py MODEL PHOTO..."""

import sys

from uir import Restorer

model, *photos = sys.argv[1:]
restorer = Restorer.from_pretrained(model)
for photo in photos:
    diagnosis = restorer.diagnose(photo)
    print(f"{photo}: {diagnosis.label}, {diagnosis.confidence:.0%} sure")

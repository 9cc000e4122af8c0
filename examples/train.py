"""Train from an option file, and restore with the result: python examples/train.py OPTIONS PHOTO RESULT"""

import sys

from uir import Restorer, load_options
from uir.core.images import write_image
from uir.engine.train_loop import train

options = load_options(sys.argv[1], force=["train:total_iter=2", "logger:print_freq=1"])  # two steps, as a trial
folder = train(options)
restorer = Restorer.from_pretrained(folder)
write_image(sys.argv[3], restorer(sys.argv[2]))

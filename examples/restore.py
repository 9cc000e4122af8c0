"""Restore a photograph: python examples/restore.py PHOTO RESULT [MODEL]. The default is uir-small."""

import sys

from PIL import Image

from uir import Restorer

photo, result, *model = sys.argv[1:]
restorer = Restorer.from_pretrained(*model)
restored = restorer(Image.open(photo), ensemble=2)  # the mean over the image and its mirror image
restored.save(result)

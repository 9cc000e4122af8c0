"""Images, datasets and loaders. A dataset is a file `*_dataset.py` in this folder, registered in `DATASET_REGISTRY`."""

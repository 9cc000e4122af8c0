"""The basis of all other folders: checkpoints, image files, seeds, devices, processes, progress. No networks."""

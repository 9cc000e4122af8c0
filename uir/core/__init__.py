"""What all the rest stands on: checkpoints, image files, seeds, devices, processes, progress. It knows no networks."""

"""From a network and tiles to trained weights: epochs, devices, shards, checkpoints."""

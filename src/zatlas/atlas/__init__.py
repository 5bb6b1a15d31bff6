"""Latents of all images, and what is made of them: maps, clusters, neighbours, densities, paths."""

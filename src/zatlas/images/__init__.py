"""Collections of images: reading them, packing them for quick access, splitting and describing them."""

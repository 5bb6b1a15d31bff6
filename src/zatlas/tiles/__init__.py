"""Square tiles of images: where they are drawn, how their pixels are scaled, and the loader that makes batches."""

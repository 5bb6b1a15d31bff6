"""zatlas: from a collection of biomedical images to a latent atlas that a person can see, steer and trust."""

__version__ = "0.1.0"

"""Names of the priors and what reports call them. Imports no torch: results are read and reported without it."""

__all__ = ["STANDARD", "WORDS", "prior_words"]

STANDARD = "standard"
"""N(0, I)."""

WORDS = {
    STANDARD: "the standard normal N(0, I)",
    "mixture": "a mixture of Gaussians that was trained with the model",
    "vamp": "a mixture of the posteriors of images that were learned with the model (VampPrior)",
    "flow": "a normalising flow that was trained with the model",
}
"""What each is, after "the prior, " in a report."""


def prior_words(name: str) -> str:
    """What the prior of a model is, by the name in its results.

    Example:
        >>> prior_words("standard"), prior_words("cauchy")
        ('the standard normal N(0, I)', 'the prior cauchy')
    """
    return WORDS.get(name, f"the prior {name}")

"""What reports call the priors. Imports no torch: results are read and reported without it."""

from zatlas.config import PRIORS

__all__ = ["FLOW", "MIXTURE", "STANDARD", "VAMP", "WORDS", "prior_words"]

STANDARD, MIXTURE, FLOW, VAMP = PRIORS

WORDS = {
    STANDARD: "the standard normal N(0, I)",
    MIXTURE: "a mixture of Gaussians that was trained with the model",
    VAMP: "a mixture of the posteriors of images that were learned with the model (VampPrior)",
    FLOW: "a normalising flow that was trained with the model",
}
"""What each is, after "the prior, " in a report."""


def prior_words(name: str) -> str:
    """What the prior of a model is, by the name in its results.

    Example:
        >>> prior_words("standard"), prior_words("cauchy")
        ('the standard normal N(0, I)', 'the prior cauchy')
    """
    return WORDS.get(name, f"the prior {name}")

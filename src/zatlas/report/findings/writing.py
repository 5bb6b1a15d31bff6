"""The questions of a latent-space study, answered in paragraphs that are written from its numbers.

A finding states its number and never more than it: where the evidence is weak, or a number cannot tell two
explanations apart, it says so. `Finding.numbers` holds the numbers of the text, unrounded, as the results give them.
"""

from zatlas.report.findings import encoder, latent, models
from zatlas.results.kinds import Finding, StudyResults

__all__ = ["findings", "in_short"]


def findings(results: StudyResults) -> list[Finding]:
    """All findings of a study, in the order of the report."""
    makers = (
        models.reconstructions_between_sizes,
        models.against_pca,
        models.train_test_gap,
        models.what_is_lost,
        encoder.amortisation,
        encoder.invariance,
        latent.clusters_and_images,
        latent.organisation_between_sizes,
        latent.maps_between_sizes,
        latent.changes_along_walks,
        latent.samples_and_prior,
        latent.tissue_or_source,
        models.dimensions_in_use,
        models.objective,
        latent.data_warnings,
    )
    return [finding for make in makers if (finding := make(results)) is not None]


_SHORT = ("reconstructions", "pca", "gap", "clusters", "samples", "source", "warnings")


def in_short(found: list[Finding]) -> list[str]:
    """The first sentence of the findings that matter most, for the summary."""
    chosen = [finding for finding in found if finding.section in _SHORT]
    return [_first_sentence(finding.text) for finding in chosen]


def _first_sentence(text: str) -> str:
    head, stop, _ = text.partition("\n")[0].partition(". ")
    return head + "." if stop else head

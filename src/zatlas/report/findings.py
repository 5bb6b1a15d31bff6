"""The questions of a latent-space study, answered in paragraphs that are written from its numbers.

A finding states its number and never more than it: where the evidence is weak, or a number cannot tell two
explanations apart, it says so. `Finding.numbers` holds the numbers of the text, unrounded, as the results give them.
"""

from zatlas.atlas.results import Finding, StudyResults
from zatlas.report import findings_latent, findings_models

__all__ = ["findings", "in_short"]


def findings(results: StudyResults) -> list[Finding]:
    """All findings of a study, in the order of the report."""
    makers = (
        findings_models.reconstructions_between_sizes,
        findings_models.against_pca,
        findings_models.train_test_gap,
        findings_models.what_is_lost,
        findings_latent.clusters_and_images,
        findings_latent.organisation_between_sizes,
        findings_latent.maps_between_sizes,
        findings_latent.changes_along_walks,
        findings_latent.samples_and_prior,
        findings_latent.tissue_or_source,
        findings_models.dimensions_in_use,
        findings_models.objective,
        findings_latent.data_warnings,
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

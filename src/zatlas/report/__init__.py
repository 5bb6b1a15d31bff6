"""The report: one page with its figures and findings, drawn from results alone."""

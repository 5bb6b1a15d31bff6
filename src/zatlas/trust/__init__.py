"""How far a model can be believed: quality beside PCA, probes of labels, image features, support by the data."""

"""The figures, each as PNG, SVG and CSV."""

"""The measurements of clusters: several workers or nodes, beside several native servers."""

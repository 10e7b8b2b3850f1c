"""Masks to numbers: metrics of a case, distances between surfaces, scans, endpoints, quality."""

"""Trunks of classifiers that detectors read their maps from."""

"""Metrics, calibration, the classifier, plots."""

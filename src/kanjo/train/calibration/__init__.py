"""Calibration: temperature scaling and the out-of-distribution score."""

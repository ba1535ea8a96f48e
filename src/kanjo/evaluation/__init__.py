"""Evaluation: metrics, robustness, baselines, comparison of runs, and reports.

Models are evaluated through the recognizer, so that a score is the score of what users run.
"""

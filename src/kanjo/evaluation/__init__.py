"""Evaluation: metrics, and the report of what a bundle scores. It predicts through the recogniser, as users do."""

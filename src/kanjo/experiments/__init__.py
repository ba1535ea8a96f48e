"""Experiments: run folders, the training pipeline, cross-validation, ablation and tuning."""

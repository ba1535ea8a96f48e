"""Models: one module per architecture.

A model maps features (B, C, M, T) and the number of valid frames (B,) to logits (B, E) and embeddings (B, D). Its
config class in kanjo.train.config.models builds it.
"""

"""The recipe schema and how recipes are read."""

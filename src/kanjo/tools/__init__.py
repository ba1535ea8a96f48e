"""Tools that work on files: resample, normalise, change settings in configuration files."""

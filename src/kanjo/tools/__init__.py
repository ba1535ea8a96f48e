"""Tools for files: resample and normalize recordings, change settings in configuration files."""

"""One reader for each published corpus layout."""

"""One reader per published corpus layout."""

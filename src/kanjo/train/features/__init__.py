"""Feature extraction: STFT, mel filters, log-mel spectrograms."""

"""Feature extraction: short-time Fourier transform, mel filters, log-mel spectrograms."""

"""Networks that read and write long sequences at several resolutions."""

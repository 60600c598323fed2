"""What every stage seals and every loader checks before it parses: digests and manifests."""

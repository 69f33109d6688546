"""Bundles: read from disk, noticed when they change, loaded into a snapshot, kept as a last good copy."""

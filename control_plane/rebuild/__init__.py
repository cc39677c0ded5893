"""Restoring the registry of datasets from their manifests, after a database was restored from an older copy."""

"""Retiring datasets: explicit, audited, for good. The name stays taken, the manifest stays, the files go after a grace."""

"""The control plane: accepts, records, releases, grants, seals. Owns PostgreSQL; no data row passes through it."""

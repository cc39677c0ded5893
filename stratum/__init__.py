"""Stratum: trigger an action on an entity's data version; get back sealed, reproducible Parquet."""

"""The local platform: PostgreSQL, Kafka, S3 and every Stratum role on one machine, started by `stratum up`."""

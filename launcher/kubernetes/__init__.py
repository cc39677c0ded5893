"""The backend of a cluster: each attempt is a `batch/v1` Job, its pod the Spark driver, owner of its executors."""

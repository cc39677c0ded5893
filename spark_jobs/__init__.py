"""The jobs: stateless Spark programs that read sealed datasets and write new ones."""

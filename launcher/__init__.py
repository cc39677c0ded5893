"""Turns commands into jobs and tells what became of them. Stateless: what it knows lies in Kafka and in its backend."""

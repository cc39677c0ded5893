"""The backend of one machine: each job is a child under a wrapper, each job's state a folder."""

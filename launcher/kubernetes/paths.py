"""Where the API server keeps what the backend uses."""


def jobs(namespace: str) -> str:
    """The Jobs of a namespace."""
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def job(namespace: str, name: str) -> str:
    """One Job."""
    return f"{jobs(namespace)}/{name}"


def pods(namespace: str) -> str:
    """The pods of a namespace."""
    return f"/api/v1/namespaces/{namespace}/pods"


def secrets(namespace: str) -> str:
    """The Secrets of a namespace."""
    return f"/api/v1/namespaces/{namespace}/secrets"


def events(namespace: str) -> str:
    """What was said about the objects of a namespace."""
    return f"/api/v1/namespaces/{namespace}/events"

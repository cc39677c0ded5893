"""What the launcher asks over HTTP, and how it fails."""

import httpx


def reason_of(error: Exception) -> str:
    """Why a request failed, in a few words."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answers {error.response.status_code}"
    return str(error) or type(error).__name__

"""Paths of the API."""

from urllib.parse import quote

from stratum.errors import Invalid


def api_path(*segments: object) -> str:
    """The path of these names and ids.

    Raises:
        Invalid: one of them is none.
    """
    for segment in segments:
        if "/" in str(segment):
            raise Invalid(f"{segment!r} is not a name or an id: it holds a '/'.", "Give one name at a time.")
    return "/v1/" + "/".join(quote(str(segment), safe="") for segment in segments)

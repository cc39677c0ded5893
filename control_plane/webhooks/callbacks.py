"""Callback URLs, judged when a request is made: what can never be delivered is refused while its sender still listens."""

from pydantic import AnyHttpUrl

from control_plane.errors import Invalid
from control_plane.webhooks.targets import TargetRefused, TargetRules


def check(rules: TargetRules, url: AnyHttpUrl | None) -> None:
    """Raise `Invalid` for a URL that no delivery may be sent to. What its name leads to is judged at each delivery."""
    if url is None:
        return
    try:
        rules.target(str(url))
    except TargetRefused as error:
        raise Invalid(f"The callback_url is refused: {error}.", errors=[{"pointer": "/callback_url", "detail": str(error)}]) from error

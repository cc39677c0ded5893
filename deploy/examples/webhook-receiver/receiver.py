"""A receiver of Stratum's webhooks: `STRATUM_WEBHOOK_SECRETS="whsec_… whsec_…" python receiver.py PORT`.

It answers 204 to what is signed with one of the secrets, 401 to anything else, and acts once on each delivery. It needs nothing but
`pip install standardwebhooks`.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

MOST_BYTES = 4 * 1024 * 1024
seen: set[str] = set()  # in earnest: a table with a unique key, written in the transaction of what you do


class Receiver(BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self) -> None:
        """Check it, act on it once, and say that it is taken."""
        size = int(self.headers.get("Content-Length", 0))
        if size > MOST_BYTES:
            self.answer(413)
            return
        body = self.rfile.read(size)  # the bytes as they came: the signature is over them
        event = verified(body, dict(self.headers.items()))
        if event is None:
            self.answer(401)
            return
        delivery = self.headers["webhook-id"]
        if delivery not in seen:  # at least once means: sometimes twice
            act(event)
            seen.add(delivery)
        self.answer(204)

    def answer(self, status: int) -> None:
        """Answer with a status alone."""
        self.send_response(status)
        self.end_headers()


def verified(body: bytes, headers: dict[str, str]) -> Any:
    """The event; None if no secret of ours signed it in the last five minutes."""
    for secret in os.environ["STRATUM_WEBHOOK_SECRETS"].split():
        try:
            return Webhook(secret).verify(body, headers)
        except WebhookVerificationError:
            continue
    return None


def act(event: Any) -> None:
    """What you do with it. Here: print where the data lies, or why there is none."""
    process = event["data"]
    where = process["artifacts"][0]["location"] if process["artifacts"] else process["reason"]
    print(event["type"], process["id"], where, flush=True)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()

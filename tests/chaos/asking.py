"""Ask a broker about a consumer group for so long: `python -m tests.chaos.asking BOOTSTRAP SECONDS`. Prints how often it was told."""

import sys
import time

from confluent_kafka import Consumer

from contracts import consumer_group


def main(bootstrap: str, seconds: float) -> None:
    consumer_group._ANSWER_SECONDS = 1.0  # more questions meet more broken connections
    kafka = {"bootstrap.servers": bootstrap, "log_level": 0}
    stranger = Consumer({**kafka, "group.id": "asked-about"})
    membership = consumer_group.Membership(kafka, "asked-about")
    until, told = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        told += membership._is_forgotten(stranger)
    stranger.close()
    print(told)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))

"""Whether a consumer group of Kafka still knows one of its readers."""

import threading
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient

PATIENCE = 50
"""How often in succession a reader is seen without partitions before the broker is asked."""
_ANSWER_SECONDS = 5.0


class Membership:
    """Notices that a reader without partitions was forgotten by its group.

    A group's coordinator that is taken away while the group forms can leave a reader waiting for an answer that never comes: the client
    reports nothing, reads nothing, and does not join again. That a reader has no partitions says little, since there may be more readers
    than partitions; that the broker does not know it as a member says more; that it does not know it the next time either says all, since
    a reader that is just joining is known by then.

    Args:
        kafka: what every client of the installation is told.
    """

    def __init__(self, kafka: Mapping[str, Any], group: str) -> None:
        self._kafka = dict(kafka)
        self._group = group
        self._without = 0
        self._was_forgotten = False

    def is_lost(self, consumer: Consumer) -> bool:
        """Ask after each poll that gave nothing. Whether the reader is to be replaced by a new one; now and then it takes a few seconds."""
        if consumer.assignment():
            self._without, self._was_forgotten = 0, False
            return False
        self._without += 1
        if self._without < PATIENCE:
            return False
        self._without = 0
        before, self._was_forgotten = self._was_forgotten, self._is_forgotten(consumer)
        return before and self._was_forgotten

    def _is_forgotten(self, consumer: Consumer) -> bool:
        try:
            # not `describe_consumer_groups`: it ends the process when the way to the group's coordinator breaks at the wrong moment
            found = AdminClient(self._kafka).list_groups(self._group, timeout=_ANSWER_SECONDS)
        except KafkaException:
            return False  # who cannot be asked now is asked again
        if any(group.error is not None for group in found):
            return False
        return consumer.memberid() not in {member.id for group in found for member in group.members}


def abandon(consumer: Consumer) -> None:
    """Close a reader that is lost. It may wait for an answer that never comes also when it is closed: nobody waits for that."""
    threading.Thread(target=consumer.close, daemon=True).start()

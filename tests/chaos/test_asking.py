"""Whoever asks a broker about its consumer group outlives a broker that comes and goes: Kafka's client must not end the process."""

import random
import subprocess
import sys
import time

import pytest

from tests.chaos.network import Network
from tests.services import Services

SECONDS = 40
ASKING = 4


@pytest.mark.slow
def test_who_asks_about_a_group_outlives_a_broker_that_comes_and_goes(services: Services) -> None:
    with Network.running() as network:
        wire = network.wire("kafka", services.kafka_bootstrap, kafka=True)
        command = [sys.executable, "-m", "tests.chaos.asking", wire.address, str(SECONDS)]
        asking = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(ASKING)]
        while any(child.poll() is None for child in asking):
            for turn in (wire.cut, wire.lose_answers, wire.heal):
                turn()
                time.sleep(random.uniform(0, 0.5))  # where a question stands when its connection breaks is left to chance
        answers = [child.communicate()[0] for child in asking]
    assert [child.returncode for child in asking] == [0] * ASKING
    assert all(int(answer) > 0 for answer in answers), "nobody was ever told"
    assert wire.counters.cut > SECONDS

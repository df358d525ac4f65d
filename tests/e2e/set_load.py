"""Crowds, by our own load generator. What is judged is that everybody gets there and
no byte is wrong; figures belong to the documents."""

import json

from case import Set
from peers import BENCH, Server

CLIENTS = 2000


class Storm(Set):
    """2,000 relay clients come back at once while the relay is saturated."""

    @classmethod
    def build(cls):
        host = cls.lab.host("srv")
        cls.server = Server(host, "https://127.0.0.1:8443",
                            config='listen = ["127.0.0.1:8443"]\nderp.verify_clients = false\n')
        cls.server.start()

    def bench(self, mode, *arguments):
        return [BENCH, "relay", "--url", "derps://127.0.0.1:8443", "--pid",
                self.server.process.pid, "--quiet", "--json", mode, *arguments]

    def test_01_everybody_comes_back(self):
        flood = self.server.host.start(*self.bench("throughput", "--pairs", 4, "--rate", 0,
                                                   "--seconds", 600), log="flood.json")
        storm = json.loads(self.server.host.run(
            *self.bench("storm", "--clients", CLIENTS, "--settle", 0, "--nice", 0),
            timeout=500).stdout)["records"]
        self.assertIsNone(flood.poll(), "the flood went on all the time")
        _, first, again = storm
        for phase in (first, again):
            self.assertEqual(phase["logins"], CLIENTS)
        self.assertEqual(again["clients_lost"], 0, "who is in stays in")
        self.assertEqual(sum(phase["packets_wrong"] for phase in storm), 0)
        self.assertGreater(sum(phase["packets_timed"] for phase in storm), 0)

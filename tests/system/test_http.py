"""Devices that are reached by HTTP: what is asked there, what comes back, and
servers that are slow, wrong or hostile."""
import concurrent.futures
import json
import os
import random
import tempfile
import threading

import dtls
import house
import rig
from house import House, PSK
from web import WebDevice, reply

PANEL = (b"panel", PSK)
JSON = ("Content-Type", "application/json")


class Web(House):
    """Each test says what the device answers, by path."""

    @classmethod
    def devices(cls):
        cls.answers = {}
        cls.web = cls.start(WebDevice(lambda r: cls.answers[r.target.split("?")[0]](r)))
        return super().devices() + [
            {"name": "web", "path": "/web", "url": cls.web.url + "/api", "window": 8}]

    policy = House.policy.replace(
        "      - {path: /slow/**, methods: [GET]}\n",
        "      - {path: /web/**, methods: [GET, PUT, POST, DELETE, FETCH, PATCH, iPATCH]}\n")

    def answer(self, path, how):
        self.answers["/api/" + path] = how if callable(how) else lambda r: how

    def last(self):
        return self.web.requests[-1]

    def test_get(self):
        self.answer("state", reply(200, b'{"on":1}', JSON, ("Cache-Control", "max-age=20")))
        a = self.ask("/web/state?x=1&y=a+b", "2.05")
        self.assertEqual(a.payload, b'{"on":1}')
        self.assertRegex(a.options, "Content-Format:application/json")
        self.assertRegex(a.options, "Max-Age:(20|19)")
        r = self.last()
        self.assertEqual((r.method, r.target, r.body), ("GET", "/api/state?x=1&y=a%2Bb", b""))
        self.assertEqual(r.headers["host"], "127.0.0.1:%d" % self.web.port)

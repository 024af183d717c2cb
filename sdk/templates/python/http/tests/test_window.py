"""The window in a real host: run by `hms test`, which says where it is."""

import json
import os
import time
import unittest
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ["HMS_URL"] + "/{{name}}"


class Window(unittest.TestCase):
    def test_greets_whoever_is_named(self):
        self.assertEqual(urlopen(URL).read(), b"hello from {{name}}\n")
        self.assertEqual(urlopen(URL + "?name=alice").read(), b"hello alice\n")

    def test_tells_the_time(self):
        told = json.load(urlopen(URL + "/time"))
        self.assertLess(abs(told["milliseconds"] - time.time() * 1000), 60_000)

    def test_other_methods_and_paths_are_refused(self):
        with self.assertRaises(HTTPError) as refused:
            urlopen(Request(URL, data=b"hello"))
        self.assertEqual(refused.exception.code, 405)
        self.assertEqual(refused.exception.headers["allow"], "GET, HEAD")
        with self.assertRaises(HTTPError) as refused:
            urlopen(URL + "/other")
        problem = json.load(refused.exception)
        self.assertEqual(problem["type"], "urn:hms:problem:not-found")

"""The window in a real host: run by `hms test`, which says where it is."""

import json
import os
import time
import unittest
from urllib.error import HTTPError
from urllib.request import urlopen

URL = os.environ["HMS_URL"] + "/{{name}}"


def total():
    return json.load(urlopen(URL + "/sum"))["sum"]


class Window(unittest.TestCase):
    def test_what_is_added_arrives_as_an_event(self):
        before = total()
        for amount in [3, 4]:
            added = urlopen(URL, data=json.dumps({"amount": amount}).encode())
            self.assertEqual(added.status, 201)
        end = time.monotonic() + 10
        while total() != before + 7:
            self.assertLess(time.monotonic(), end, f"the sum stays {total()}")
            time.sleep(0.1)

    def test_amount_that_is_no_number_is_refused(self):
        for body in [b"{}", b'{"amount": "3"}', b"null"]:
            with self.assertRaises(HTTPError) as refused:
                urlopen(URL, data=body)
            self.assertEqual(refused.exception.code, 400)

"""The window in a real host: run by `hms test`, which says where it is."""

import json
import os
import time
import unittest
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ["HMS_URL"] + "/{{name}}"
TOKEN = {"Authorization": "Bearer " + os.environ["HMS_TOKEN"]}


def order(body):
    return urlopen(Request(URL, data=json.dumps(body).encode(), headers=TOKEN)).status


def counts():
    return json.load(urlopen(Request(URL, headers=TOKEN)))


class Window(unittest.TestCase):
    def test_orders_that_it_hears_of_are_counted(self):
        for count in [4, 2]:
            self.assertEqual(order({"item": "chair", "count": count}), 201)
        end = time.monotonic() + 60
        while counts().get("chair") != 6:
            self.assertLess(time.monotonic(), end, f"there are {counts()}")
            time.sleep(0.1)

    def test_what_is_no_order_is_refused(self):
        for body in [{}, {"item": "", "count": 1}, {"item": "chair", "count": "3"}, None]:
            with self.assertRaises(HTTPError) as refused:
                order(body)
            self.assertEqual(refused.exception.code, 400)

    def test_order_needs_a_token(self):
        with self.assertRaises(HTTPError) as refused:
            urlopen(URL)
        self.assertEqual(refused.exception.code, 401)

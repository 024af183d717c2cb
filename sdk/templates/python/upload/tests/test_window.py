"""The window in a real host: run by `hms test`, which says where it is."""

import json
import os
import unittest
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import Request, urlopen

URL = os.environ["HMS_URL"] + "/{{name}}"


def send(url, data=None, media_type="text/plain", method=None):
    headers = {"Authorization": "Bearer " + os.environ["HMS_TOKEN"], "Content-Type": media_type}
    return urlopen(Request(urljoin(URL, url), data=data, headers=headers, method=method))


class Window(unittest.TestCase):
    def test_file_comes_back_as_it_was_sent(self):
        sent = bytes(range(251)) * 12_000
        made = send(URL, sent, "image/png")
        self.assertEqual(made.status, 201)
        self.assertEqual(json.load(made)["bytes"], len(sent))
        got = send(made.headers["location"])
        self.assertEqual(got.headers["content-type"], "image/png")
        self.assertEqual(got.headers["content-length"], str(len(sent)))
        self.assertTrue(got.read() == sent)
        self.assertEqual(json.load(send(URL))["files"][-1]["bytes"], len(sent))

    def test_empty_file_is_a_file(self):
        got = send(send(URL, b"").headers["location"])
        self.assertEqual((got.status, got.read()), (200, b""))

    def test_unknown_file_is_not_found_and_other_methods_are_refused(self):
        for method, url, status in [("GET", URL + "/none", 404), ("DELETE", URL, 405)]:
            with self.assertRaises(HTTPError) as refused:
                send(url, method=method)
            self.assertEqual(refused.exception.code, status)

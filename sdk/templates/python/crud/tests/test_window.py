"""The window in a real host: run by `hms test`, which says where it is."""

import json
import os
import unittest
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

URL = os.environ["HMS_URL"] + "/{{name}}"


def send(method, path="", body=None):
    """The status and the JSON of the answer."""
    data = None if body is None else json.dumps(body).encode()
    try:
        answer = urlopen(Request(URL + path, data=data, method=method))
    except HTTPError as error:
        answer = error
    text = answer.read()
    return answer.status, json.loads(text) if text else None


class Window(unittest.TestCase):
    def test_item_is_created_read_changed_and_deleted(self):
        status, item = send("POST", body={"title": "bread"})
        self.assertEqual(status, 201)
        one = "/" + item["id"]
        self.assertEqual(send("GET", one), (200, {"id": item["id"], "title": "bread"}))
        self.assertEqual(send("PUT", one, {"title": "cake"})[0], 200)
        items = send("GET")[1]["items"]
        self.assertIn({"id": item["id"], "title": "cake"}, items)
        self.assertEqual(send("DELETE", one), (204, None))
        for method in ["GET", "DELETE"]:
            self.assertEqual(send(method, one)[0], 404)
        self.assertEqual(send("PUT", one, {"title": "cake"})[0], 404)

    def test_list_comes_in_pages(self):
        for title in ["one", "two", "three"]:
            send("POST", body={"title": title})
        first = send("GET", "?limit=2")[1]
        self.assertEqual(len(first["items"]), 2)
        second = send("GET", "?limit=2&cursor=" + quote(first["next"]))[1]
        self.assertGreater(second["items"][0]["id"], first["items"][1]["id"])

    def test_item_without_a_title_is_refused(self):
        for body in [{}, {"title": 7}, [], "x"]:
            self.assertEqual(send("POST", body=body)[0], 400)
        self.assertEqual(send("PATCH", body={})[0], 405)

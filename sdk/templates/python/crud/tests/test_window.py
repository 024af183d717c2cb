"""The window in a real host: run by `hms test`, which says where it is."""

import json
import os
import subprocess
import unittest
from functools import cache
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

URL = os.environ["HMS_URL"] + "/{{name}}"


@cache
def token(user):
    """As an identity provider would give."""
    command = [os.environ["HMS_BIN"], "token", "--data", os.environ["HMS_DATA"], "--user", user]
    return subprocess.check_output(command, text=True).strip()


def send(method, path="", body=None, user="alice", headers=()):
    """The status, the JSON of the answer, and its headers."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(URL + path, data=data, method=method, headers=dict(headers))
    if user:
        request.add_header("Authorization", f"Bearer {token(user)}")
    try:
        answer = urlopen(request)
    except HTTPError as error:
        answer = error
    text = answer.read()
    return answer.status, json.loads(text) if text else None, answer.headers


def create(title):
    status, note, _ = send("POST", body={"title": title})
    assert status == 201, note
    return "/" + note["id"]


class Window(unittest.TestCase):
    def test_note_is_kept_and_shown_to_its_owner_alone(self):
        one = create("milk")
        expected = {"id": one[1:], "version": 1, "title": "milk", "text": ""}
        self.assertEqual(send("GET", one)[:2], (200, expected))
        self.assertEqual(send("GET", one, user="bob")[0], 404)
        self.assertEqual(send("GET", one, user=None)[0], 401)

    def test_change_of_an_old_version_is_refused(self):
        one = create("milk")
        tag = send("GET", one)[2]["etag"]
        old, new = {"If-Match": tag}, {"If-Match": '"2"'}
        status, note, _ = send("PUT", one, {"title": "bread"}, headers=old)
        self.assertEqual((status, note["version"]), (200, 2))
        self.assertEqual(send("PUT", one, {"title": "cheese"}, headers=old)[0], 412)
        self.assertEqual(send("GET", one, headers={"If-None-Match": '"2"'})[0], 304)
        self.assertEqual(send("DELETE", one, headers=old)[0], 412)
        self.assertEqual(send("DELETE", one, headers=new)[0], 204)
        for method in ["GET", "DELETE"]:
            self.assertEqual(send(method, one)[0], 404)
        self.assertEqual(send("PUT", one, {"title": "cake"})[0], 404)

    def test_list_comes_in_pages_in_the_order_of_time(self):
        for title in ["one", "two", "three"]:
            create(title)
        first = send("GET", "?limit=2")[1]
        self.assertEqual(len(first["notes"]), 2)
        second = send("GET", "?limit=2&cursor=" + quote(first["next"]))[1]
        self.assertGreater(second["notes"][0]["id"], first["notes"][1]["id"])

    def test_what_is_no_note_is_refused(self):
        for body in [{}, {"title": ""}, {"title": 7}, [], "x"]:
            self.assertEqual(send("POST", body=body)[0], 400)
        self.assertEqual(send("PATCH", body={})[0], 405)

"""The window in a real host: run by `hms test`, which says where it is."""

import os
import unittest
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def get(path, data=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        return urlopen(Request(os.environ["HMS_URL"] + path, data=data, headers=headers))
    except HTTPError as error:
        return error


class Site(unittest.TestCase):
    def test_page_comes_with_its_policy_and_is_not_sent_twice(self):
        page = get("/")
        self.assertEqual(page.headers["content-type"], "text/html; charset=utf-8")
        self.assertIn(b"<h1>{{name}}</h1>", page.read())
        self.assertIn("default-src 'self'", page.headers["content-security-policy"])
        self.assertEqual(get("/", if_none_match=page.headers["etag"]).status, 304)

    def test_files_are_compressed_when_the_client_accepts_it(self):
        style = get("/assets/style.css", accept_encoding="gzip")
        self.assertEqual(style.headers["content-encoding"], "gzip")
        part = get("/assets/style.css", range="bytes=0-3")
        self.assertEqual((part.status, len(part.read())), (206, 4))

    def test_other_paths_are_not_found(self):
        missing = get("/none")
        self.assertEqual(missing.status, 404)
        self.assertIn(b"There is no page here", missing.read())
        self.assertEqual(get("/", data=b"x").status, 405)

"""The window in a real host: run by `hms test`, which says where it is."""

import json
import os
import threading
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

calls = []


class Service(BaseHTTPRequestHandler):
    """What the window asks."""

    def do_GET(self):
        calls.append(self.path)
        known = {"CHF": (200, b'{"rate": 0.94}'), "XXX": (404, b"")}
        status, text = known.get(self.path[-3:], (500, b"the database is on fire"))
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def get(currency):
    headers = {"authorization": "Bearer " + os.environ["HMS_TOKEN"]}
    url = f"{os.environ['HMS_URL']}/{{name}}-tested/{currency}".removesuffix("/")
    try:
        return urlopen(Request(url, headers=headers))
    except HTTPError as error:
        return error


def admin(path, body):
    headers = {"authorization": "Bearer " + os.environ["HMS_ADMIN_TOKEN"]}
    url = f"http://{os.environ['HMS_ADMIN']}{path}"
    urlopen(Request(url, data=body, method="PUT", headers=headers))


class Proxy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """The same window under another name, with grants of the tests' own: for a service of
        theirs."""
        cls.service = HTTPServer(("127.0.0.1", 0), Service)
        threading.Thread(target=cls.service.serve_forever, daemon=True).start()
        service = f"http://127.0.0.1:{cls.service.server_port}"
        component = Path(__file__).parent.parent / "dist/{{name}}.wasm"
        admin("/windows/{{name}}-tested?yes=true", component.read_bytes())
        grants = f"""
outbound:
  - to: {service}
    methods: [GET]
    private: [127.0.0.0/8]
config:
  rates-url: {service}
"""
        admin("/windows/{{name}}-tested/grants?yes=true", grants.encode())
        route = b"""
uri: /{{name}}-tested/**
upstream: http://hms-svc-{{name}}-tested
plugins:
  - auth
"""
        admin("/routes/{{name}}-tested", route)

    @classmethod
    def tearDownClass(cls):
        cls.service.shutdown()
        cls.service.server_close()

    def test_rate_is_asked_for_once_and_kept(self):
        for _ in range(2):
            answer = get("CHF")
            self.assertEqual((answer.status, json.load(answer)["rate"]), (200, 0.94))
        rates = json.load(get(""))["rates"]
        self.assertEqual([rate["currency"] for rate in rates], ["CHF"])
        asked = [path for path in calls if path.endswith("/CHF")]
        self.assertEqual(asked, ["/v1/rates/CHF"])

    def test_what_the_service_does_not_know_is_not_found_and_what_it_fails_at_a_502(self):
        self.assertEqual(get("XXX").status, 404)
        failed = get("EUR")
        self.assertEqual(failed.status, 502)
        self.assertNotIn(b"fire", failed.read())

    def test_what_is_no_currency_is_refused(self):
        for currency in ["chf", "CH"]:
            self.assertEqual(get(currency).status, 400)

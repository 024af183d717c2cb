"""The window in a real host: run by `hms test`, which says where it is."""

import os
import threading
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen

calls = []


class Service(BaseHTTPRequestHandler):
    """What the middleware stands in front of."""

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        calls.append((self.command, body))
        text = f"{self.command} {self.path}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass


def desks(method, body=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers["authorization"] = "Bearer " + os.environ["HMS_TOKEN"]
    url = os.environ["HMS_URL"] + "/in-front/7"
    return urlopen(Request(url, data=body, method=method, headers=headers))


class Middleware(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """A route of the tests: through the middleware to a service of theirs."""
        cls.service = HTTPServer(("127.0.0.1", 0), Service)
        threading.Thread(target=cls.service.serve_forever, daemon=True).start()
        route = f"""
uri: /in-front/**
upstream: http://127.0.0.1:{cls.service.server_port}
plugins:
  - auth
  - wasm: {{window: {{name}}}}
"""
        headers = {"authorization": "Bearer " + os.environ["HMS_ADMIN_TOKEN"]}
        url = "http://" + os.environ["HMS_ADMIN"] + "/routes/in-front"
        urlopen(Request(url, data=route.encode(), method="PUT", headers=headers))

    @classmethod
    def tearDownClass(cls):
        cls.service.shutdown()
        cls.service.server_close()

    def test_change_is_passed_on_and_kept_under_an_id(self):
        answer = desks("PUT", b"oak")
        self.assertEqual((answer.status, answer.read()), (200, b"PUT /in-front/7"))
        self.assertEqual(calls[-1], ("PUT", b"oak"))
        self.assertRegex(answer.headers["x-change"], "^[0-9a-f-]{36}$")

    def test_deletion_without_a_reason_is_not_passed_on(self):
        before = len(calls)
        with self.assertRaises(HTTPError) as refused:
            desks("DELETE")
        self.assertEqual((refused.exception.code, len(calls)), (400, before))
        self.assertEqual(desks("DELETE", x_reason="woodworm").status, 200)

    def test_reads_pass_and_are_not_kept(self):
        answer = desks("GET")
        self.assertEqual((answer.status, answer.headers["x-change"]), (200, None))

    def test_read_with_a_body_is_passed_on_whole(self):
        self.assertEqual(desks("GET", b"oak").status, 200)
        self.assertEqual(calls[-1], ("GET", b"oak"))

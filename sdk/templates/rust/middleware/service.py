"""A service to try the middleware with. It answers with what it was asked.

    python3 service.py 8080
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Service(BaseHTTPRequestHandler):
    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        text = f"{self.command} {self.path}\n".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = answer


if __name__ == "__main__":
    service = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Service)
    print(f"serves on port {service.server_port}", flush=True)
    service.serve_forever()

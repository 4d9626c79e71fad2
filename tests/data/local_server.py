"""A server on this machine that stands for where raw files are published."""

import contextlib
import http.server
import threading


@contextlib.contextmanager
def serving(served, file):
    """Serves `served["data"]` at the address that it yields; answers 404 while there is none.

    `served["requests"]` counts; `served["length"]` is told in place of the data's.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            served["requests"] += 1
            if "data" not in served:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", served.get("length", len(served["data"])))
            self.end_headers()
            self.wfile.write(served["data"])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/{file}"
        listening.shutdown()
        thread.join()

"""A small MLflow server."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class MLflow:
    """The few calls of MLflow's REST API 2.0 that are made, on a real socket, with its rules about them."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.broken = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()})

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: dict[str, Any]) -> None:
                method = urlsplit(self.path).path.removeprefix("/api/2.0/mlflow/")
                status, answer = (500, {}) if outer.broken else outer.answer(method, body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = "http://127.0.0.1:{1}".format(*self._server.server_address)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.calls.append((method, body))
        match method:
            case "experiments/get-by-name":
                found = self.experiments.get(body["experiment_name"])
                return (200, {"experiment": {"experiment_id": found}}) if found else (404, {})
            case "experiments/create":
                self.experiments[body["name"]] = "7"
                return 200, {"experiment_id": "7"}
            case "runs/search":
                wanted = body["filter"].removeprefix("tags.`veristream.job` = '").removesuffix("'")
                runs = [run for run in self.runs.values() if run["tags"]["veristream.job"] == wanted]
                return 200, {"runs": [{"info": {"run_id": run["id"]}} for run in runs]} if runs else {}
            case "runs/create":
                tags = {tag["key"]: tag["value"] for tag in body["tags"]}
                run = {"id": f"r{len(self.runs)}", "tags": tags, "params": {}, "metrics": {}, "name": body["run_name"]}
                self.runs[run["id"]] = run
                return 200, {"run": {"info": {"run_id": run["id"]}}}
            case _:
                return 200, self._written(method, body)

    def _written(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        run = self.runs[body["run_id"]]
        if method == "runs/update":
            run["status"] = body["status"]
        elif method == "runs/set-tag":
            run["tags"][body["key"]] = body["value"]
        else:
            assert method == "runs/log-batch"
            assert len(body["params"]) <= 100
            run["params"] |= {entry["key"]: entry["value"] for entry in body["params"]}
            run["metrics"] |= {entry["key"]: entry["value"] for entry in body["metrics"]}
        return {}

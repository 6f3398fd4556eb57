"""Two servers on this machine that speak the real protocols: a MediaWiki's api.php and OpenAI's chat completions.

Each has a queue of faults; a fault takes the place of the next answer. Both count what they are asked.
"""

import http.server
import json
import re
import threading
from urllib.parse import parse_qsl, urlsplit

import pytest

KEY = "sk-very-secret-0123456789"
LONG = 60.0  # a server that sleeps: until it is closed, or this many seconds


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """The servers are on this machine, which no proxy of its own reaches."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


class Server(http.server.ThreadingHTTPServer):
    """A loopback server with `faults` (functions of the handler, used up one a request) and a log of `requests`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults, self.requests, self.closing = [], [], threading.Event()
        self.delay = 0.0  # seconds that each answer takes
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take_fault(self, request):
        with self.lock:
            self.requests.append(request)
            return self.faults.pop(0) if self.faults else None

    def handle_error(self, request, client_address):
        pass  # a client that was killed or did not wait: what these tests are about

    def stop(self):
        self.closing.set()
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the acknowledgement of its headers

    def log_message(self, *_):
        pass

    def _serve(self, request):
        fault = self.server.take_fault(request)
        self.server.closing.wait(self.server.delay)
        if fault is None:
            status, answer = self.server.answer(request)
            self.send(status, answer)
        else:
            fault(self)

    def do_GET(self):
        self._serve(
            dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True)) | {"agent": self.headers["User-Agent"]}
        )

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._serve({"body": body, "key": self.headers["Authorization"], "path": self.path})

    def send(self, status, answer, headers=(), *, cut=None, kind="application/json"):
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True


class Faults:
    """What goes wrong, by name."""

    @staticmethod
    def maxlag(handler):
        error = {"code": "maxlag", "info": "Waiting for db1: 7.2 seconds lagged", "lag": 7.2}
        handler.send(200, {"error": error}, {"Retry-After": "9", "X-Database-Lag": "7"})

    @staticmethod
    def too_many(handler):
        handler.send(429, {"error": {"message": "slow down"}}, {"Retry-After": "7"})

    @staticmethod
    def unavailable(handler):
        handler.send(503, b"<html>busy</html>", kind="text/html")

    @staticmethod
    def cut_json(handler):
        handler.send(200, b'{"query": {"pages": [')

    @staticmethod
    def cut_body(handler):
        handler.send(200, b"x" * 500, cut=20)

    @staticmethod
    def slow(handler):
        handler.server.closing.wait(LONG)

    @staticmethod
    def hang_up(handler):
        handler.close_connection = True

    @staticmethod
    def page_for_people(handler):
        handler.send(200, b"<html>please log in</html>", kind="text/html")

    @staticmethod
    def says(status, message, **more):
        return lambda handler: handler.send(status, {"error": {"message": message, **more}})


def article(number, name, n=30):
    """A lead section of some `n` words, whose order tells forward from backward."""
    filler = " ".join(f"filler{i}" for i in range(n - 14))
    return f"The {name} Cup {number} is a race in Oslo.\nIt was won by Bo {name} {filler} on day{number}."


class Wiki(Server):
    """A small MediaWiki. Lists come two members, and lead sections three pages, an answer."""

    def __init__(self):
        super().__init__()
        self.tree = {
            "Category:2025 by month": [
                ("s", "Category:January 2025"),
                ("p", 11),
                ("s", "Category:February 2025"),
                ("p", 12),
            ],
            "Category:January 2025": [
                ("p", 13),
                ("p", 14),
                ("p", 11),
                ("s", "Category:2025 by month"),
            ],  # back to the root
            "Category:February 2025": [("p", 15), ("p", 16), ("p", 17), ("p", 18), ("s", "Category:Deep")],
            "Category:Deep": [("p", 19)],
        }
        self.pages = {
            11: ("Alpha Cup", article(11, "Alpha"), "2025-03-01T10:00:00Z"),
            12: ("Beta Cup", article(12, "Beta"), "2024-12-31T23:59:59Z"),  # a second too old
            13: ("Gamma Cup", article(13, "Gamma"), "2025-01-01T00:00:00Z"),  # just new enough
            14: ("Delta Cup", article(14, "Delta", 20), "2025-02-01T00:00:00Z"),  # too short
            15: ("Epsilon Cup", article(15, "Epsilon", 90), "2025-02-01T00:00:00Z"),  # too long
            16: None,  # deleted
            17: "Alpha Cup",  # a redirect
            18: ("Zeta [Cup]", article(18, "Zeta"), "2025-05-05T05:05:05Z"),
            19: ("Eta Cup", article(19, "Eta"), "2025-06-06T06:06:06Z"),
        }  # fmt: skip

    @property
    def api(self):
        return f"{self.address}/w/api.php"

    def answer(self, request):
        assert request["action"] == "query" and request["format"] == "json" and request["formatversion"] == "2"
        if request.get("list") == "categorymembers":
            return 200, self._members(request)
        numbers = [int(number) for number in request["pageids"].split("|")]
        assert len(numbers) <= 20, "the extracts module refuses more"
        if request["prop"] == "revisions":
            assert len(numbers) == 1, "rvlimit and rvdir go with one page only"
            _, _, created = self.pages[numbers[0]]
            return 200, {"query": {"pages": [{"pageid": numbers[0], "revisions": [{"timestamp": created}]}]}}
        return 200, self._extracts(request, numbers)

    def _members(self, request):
        start = int(request.get("cmcontinue", 0))
        members = self.tree.get(request["cmtitle"], [])
        rows = [
            {"ns": 14, "title": what, "pageid": 900 + start} if kind == "s" else {"ns": 0, "title": "-", "pageid": what}
            for kind, what in members[start : start + 2]
        ]
        more = {"continue": {"cmcontinue": str(start + 2), "continue": "-||"}} if start + 2 < len(members) else {}
        return {"query": {"categorymembers": rows}, **more}

    def _extracts(self, request, numbers):
        titles = {page[0]: number for number, page in self.pages.items() if isinstance(page, tuple)}
        numbers = list(dict.fromkeys(titles.get(self.pages[n], n) for n in numbers))
        start = int(request.get("excontinue", 0))
        rows = []
        for i, number in enumerate(numbers):
            if self.pages[number] is None:
                rows.append({"pageid": number, "missing": True})
                continue
            title, text, _ = self.pages[number]
            row = {"pageid": number, "ns": 0, "title": title, "lastrevid": 1000 + number,
                   "fullurl": f"https://example.org/wiki/{title.replace(' ', '_')}"}  # fmt: skip
            rows.append({**row, "extract": text} if start <= i < start + 3 else row)
        more = {"continue": {"excontinue": str(start + 3), "continue": "||info"}} if start + 3 < len(numbers) else {}
        return {"query": {"pages": rows}, **more}


class Model(Server):
    """A language model that follows the three prompts, as far as a regular expression can."""

    def answer(self, request):
        if request["key"] != f"Bearer {KEY}":
            return 401, {
                "error": {"message": f"Incorrect API key provided: {request['key']}", "code": "invalid_api_key"}
            }
        assert request["path"] == "/v1/chat/completions"
        prompt = request["body"]["messages"][0]["content"]
        return 200, self.completion(self.reply(prompt))

    @staticmethod
    def completion(text, tokens=100):
        usage = {"prompt_tokens": tokens // 2, "completion_tokens": tokens // 2, "total_tokens": tokens}
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}

    @staticmethod
    def reply(prompt):
        passage = prompt[re.search(r'(Passage:|"Paraphrase 1:"\.)\n+(?=[^\n]+\n\n[^\n]+$)', prompt).end() :]
        if "'qa_data'" not in prompt:
            kind = "Similarly" if "Strictly do NOT" in prompt else "Conversely"
            return json.dumps({"paraphrases": [passage, *(f"{kind}, {i}: {passage}" for i in range(9))]})
        name, number, winner = re.search(r"The (\w+ Cup) (\d+) is.*won by (Bo \w+)", passage, re.DOTALL).groups()
        return "Here you are:\n```json\n" + json.dumps({"qa_data": [
            [f"Who won the {name} {number}?", winner, [f"{name} {number}"]],
            {"question": f"What did {winner} win?", "answer": f"{name} {number}", "cue_used_in_question": [winner]},
            [f"Who won the {name} on day{number}?", winner, [name, f"day{number}"]],  # one cue before, one after
            ["Who paid?", "Ann Unknown", [name]],
        ]}) + "\n```"  # fmt: skip


@pytest.fixture
def wiki_server():
    server = Wiki()
    yield server
    server.stop()


@pytest.fixture
def model_server():
    server = Model()
    yield server
    server.stop()


@pytest.fixture
def faults():
    return Faults


@pytest.fixture
def key():
    return KEY


@pytest.fixture
def endpoint_set(monkeypatch, model_server):
    """The environment names the model's server."""
    monkeypatch.setenv("OPENAI_BASE_URL", f"{model_server.address}/v1")
    monkeypatch.setenv("OPENAI_MODEL", "m")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def naps(monkeypatch):
    """Waits are not waited but noted, in seconds."""
    noted = []
    monkeypatch.setattr("time.sleep", lambda seconds: noted.append(seconds) if seconds else None)
    return noted

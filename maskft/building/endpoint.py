"""A language model behind an OpenAI-compatible address: asked, checked, asked again, paid for once.

Knows neither prompts nor data sets. The client is `openai`, which every such server is tested with; it waits as
``Retry-After`` says and tries again after 408, 409, 429, 5xx, time-outs and broken connections. Answers are kept in a
journal; the key and the address are in no answer, message, log or representation.
"""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openai
from tqdm import tqdm

from maskft.building.journal import Journal

T = TypeVar("T")

ADDRESS, MODEL, KEY = "OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY"
_KEPT = "Every answer received is kept; run the same command again to go on."


@dataclass(frozen=True)
class Endpoint:
    """A model that answers prompts, each once.

    Attributes:
        model: The model's name at the server.
        journal: Where answers are kept. An answer is found again by model and prompt, whatever the address.
        address: The server's address, up to and with ``/v1``.
        key: The key. A server of one's own may need none.
        token_limit: Most tokens that all answers in the journal may have cost together, prompts included; None for no
            limit. Kept by not asking where prompt and longest answer could exceed it. A request that was given up on
            (a time-out) may have cost something that no server reports.
        max_completion_tokens: Longest answer, the tokens a model thinks with included.
        attempts: How often an answer that fails its check is asked for.
        workers: Prompts asked side by side.
        timeout_s: How long an answer may take, in seconds.
        max_retries: How often a request that was not answered is made again.
    """

    model: str
    journal: Journal
    address: str = field(repr=False)
    key: str = field(default="", repr=False)
    token_limit: int | None = None
    max_completion_tokens: int = 16_384
    attempts: int = 3
    workers: int = 4
    timeout_s: float = 600.0
    max_retries: int = 6

    @classmethod
    def from_environment(cls, journal: Journal, **settings: Any) -> "Endpoint":
        """The endpoint that ``OPENAI_BASE_URL``, ``OPENAI_MODEL`` and ``OPENAI_API_KEY`` name.

        Args:
            journal: As the attribute.
            settings: The other attributes.

        Raises:
            ValueError: If no address or no model is set, or address or key cannot be one.
        """
        cls.check_environment()
        return cls(
            os.environ[MODEL].strip(), journal, os.environ[ADDRESS].strip(), os.environ.get(KEY, "").strip(), **settings
        )

    @staticmethod
    def check_environment() -> None:
        """Look whether the environment names an endpoint, before any work. Raises ValueError as `from_environment`."""
        if unset := [name for name in (ADDRESS, MODEL) if not os.environ.get(name, "").strip()]:
            raise ValueError(
                f"no endpoint: {' and '.join(unset)} not set. Set {ADDRESS} (for example http://localhost:8000/v1), "
                f"{MODEL} and, where the server wants one, {KEY}"
            )
        text = os.environ[ADDRESS].strip()
        try:
            address = urlsplit(text)
            # A label of no letters, a port that is no number, and what the client will not have for another reason.
            host, _ = (address.hostname or "").encode("idna"), address.port
            openai.OpenAI(base_url=text, api_key="none").close()
            is_address = address.scheme in ("http", "https") and bool(host) and not any(map(str.isspace, text))
        except Exception:  # ValueError, or the client's own error, which is none
            is_address = False
        if not is_address:
            raise ValueError(f"{ADDRESS} is no address; it must begin with http:// or https://, and have a host and at most a number as port")
        key = os.environ.get(KEY, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ValueError(f"{KEY} holds a character that cannot be sent; copy the key again")

    @property
    def tokens_used(self) -> int:
        """What all answers in the journal cost, by this or another model."""
        return sum(answer["tokens"] for answer in self.journal.answers())

    def ask(self, tasks: Sequence[tuple[str, Callable[[str], T]]], *, label: str = "asking") -> list[T | None]:
        """Put prompts to the model and check its answers; those in the journal are not asked for.

        Args:
            tasks: Prompts, each with a function that makes something of an answer, or raises ValueError: then it is
                asked for again.
            label: What the progress bar says.

        Returns:
            What the functions made, in the order of the tasks; None where no attempt gave a good answer.

        Raises:
            PermissionError: If the server refuses the key.
            ConnectionError: If it cannot be reached, or does not answer after all retries.
            ValueError: If it refuses a request for another reason, or ``token_limit`` would be exceeded.
            OSError: If there is no room to keep answers.
        """
        asker = _Asker(self)
        # A bar on a terminal, a line now and then elsewhere.
        bar = tqdm(total=len(tasks), desc=label, unit="answer", mininterval=0.2 if sys.stderr.isatty() else 15.0)
        pool = ThreadPoolExecutor(self.workers)
        try:
            with bar:
                futures = [pool.submit(asker.answer, prompt, check) for prompt, check in tasks]
                for future in futures:
                    future.add_done_callback(lambda done: bar.update(not done.cancelled()))
                wait(futures, return_when=FIRST_EXCEPTION)
                pool.shutdown(cancel_futures=True)  # after a mistake: what was sent is waited for and kept
                failed = [f for f in futures if not f.cancelled() and f.exception()]
                if failed:
                    raise failed[0].exception()
                return [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)


class _Asker:
    """What the threads of one `Endpoint.ask` share: the client, and tokens that may be spent by requests under way."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        # A client without a key refuses to start; a server without keys ignores what it is sent.
        self.client = openai.OpenAI(
            base_url=endpoint.address, api_key=endpoint.key or "none", timeout=endpoint.timeout_s,
            max_retries=endpoint.max_retries,
        )  # fmt: skip
        self.changed = threading.Condition()  # guards the two below
        self.spent, self.reserved = endpoint.tokens_used, 0

    def answer(self, prompt: str, check: Callable[[str], T]) -> T | None:
        for attempt in range(self.endpoint.attempts):
            request = {"model": self.endpoint.model, "prompt": prompt, "attempt": attempt}
            entry = self.endpoint.journal.get(request) or self._ask(request)
            try:
                return check(entry["answer"]["text"])
            except ValueError:
                continue
        return None

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self.endpoint.journal.check_room()
        # A token has at least a byte; a chat template adds some tokens of its own.
        reserve = len(request["prompt"].encode()) + 64 + self.endpoint.max_completion_tokens
        limit = self.endpoint.token_limit
        with self.changed:
            while limit is not None and self.spent + self.reserved + reserve > limit:
                if not self.reserved:
                    raise ValueError(
                        f"the limit of {limit:,} tokens: {self.spent:,} are used and the next answer may take "
                        f"{reserve:,}. Allow more, or make less. {_KEPT}"
                    )
                self.changed.wait()  # answers under way mostly take less than they may
            self.reserved += reserve
        tokens = 0
        try:
            answer = self._send(request["prompt"], reserve)
            tokens = answer["tokens"]
        finally:
            with self.changed:
                self.spent += tokens
                self.reserved -= reserve
                self.changed.notify_all()
        return self.endpoint.journal.put(request, answer)

    def _send(self, prompt: str, reserve: int) -> dict[str, Any]:
        """The answer's text and what it cost. Errors of the client hold headers and bodies: none gets out."""
        try:
            completion = self.client.chat.completions.create(
                model=self.endpoint.model, messages=[{"role": "user", "content": prompt}],
                max_completion_tokens=self.endpoint.max_completion_tokens,
            )  # fmt: skip
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        except openai.APIConnectionError as error:  # time-outs too
            what = "did not answer in time" if isinstance(error, openai.APITimeoutError) else "cannot be reached"
            raise ConnectionError(
                f"the endpoint of {ADDRESS} {what}, after up to {self.endpoint.max_retries} retries. {_KEPT}"
            ) from None
        except ValueError:  # JSON, or a letter in it, that is cut short
            return {"text": "", "tokens": reserve}
        if isinstance(completion, str):  # a page for people
            raise ValueError(f"what {ADDRESS} names answers, but not in JSON; does the address end in /v1? {_KEPT}")
        try:
            text = completion.choices[0].message.content or ""
            usage = completion.usage and completion.usage.total_tokens
        except (AttributeError, TypeError, LookupError):  # the client does not check what it was sent
            return {"text": "", "tokens": reserve}
        # A server that counts nothing: bytes are more than tokens, so that the limit holds all the same.
        return {"text": text, "tokens": usage or len(prompt.encode()) + len(text.encode())}

    def _refusal(self, error: openai.APIStatusError) -> OSError | ValueError:
        code = error.status_code
        if code in (401, 403):  # the server's words may hold part of the key
            return PermissionError(
                f"the endpoint refuses the key (HTTP {code}); set {KEY} to one that {MODEL}={self.endpoint.model!r} "
                f"may be used with. {_KEPT}"
            )
        said = str(error.body.get("message", ""))[:200] if isinstance(error.body, dict) else ""
        for secret in (self.endpoint.key, self.endpoint.address):
            said = said.replace(secret, "***") if secret else said
        what = f"HTTP {code}: {said}" if said else f"HTTP {code}"
        if code == 429 or code >= 500:
            return ConnectionError(
                f"the endpoint of {ADDRESS} fails ({what}), after up to {self.endpoint.max_retries} retries. {_KEPT}"
            )
        return ValueError(
            f"the endpoint refuses the request ({what}); check {ADDRESS} and {MODEL}={self.endpoint.model!r}. {_KEPT}"
        )

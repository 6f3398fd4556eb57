"""Pages of a MediaWiki: those of a category tree, their lead sections as plain text, and when they were created.

Knows nothing of tokens, models or data sets. The client is `requests` with `tenacity`. mwclient (last release of 2024)
asks politely and tries again after maxlag and 5xx, but not after 429 or a truncated answer, and its waits grow by 30 s;
what else it does (log in, edit, upload) is not needed here. pywikibot tries again after all of them, but wants a
configuration per site and user, keeps it in global state and writes into the working folder. Both leave the
continuation of these queries to the caller or to page objects that cost a request each.

One request at a time, ``maxlag``, a pause between requests, waits as the server says: the API's etiquette,
https://www.mediawiki.org/wiki/API:Etiquette.
"""

import email.utils
import itertools
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from typing import Any

import requests
import tenacity

from maskft.building.journal import Journal

logger = logging.getLogger(__name__)

ENGLISH = "https://en.wikipedia.org/w/api.php"
LICENCE = "CC BY-SA 4.0"  # of the texts of every Wikipedia
PAPER = "https://arxiv.org/abs/2510.09885"
MAXLAG_S = 5  # the API's advice to programs that nobody waits for
LONGEST_WAIT_S = 300.0  # a server that asks for more is not waited for
EXTRACTS_AT_ONCE = 20  # what the extracts module allows for lead sections
_PASSING_ERRORS = ("maxlag", "ratelimited", "readonly")  # and internal_api_error_...


@dataclass(frozen=True)
class Page:
    """A page of the wiki, as it was when it was read.

    Attributes:
        page_id: The page's number, which stays when it is moved.
        revision: The number of the revision read.
        title: Its title.
        url: Its address.
        text: The lead section as plain text, paragraphs separated by an empty line; empty where there is none.
        retrieved: When it was read (UTC, ISO 8601).
    """

    page_id: int
    revision: int
    title: str
    url: str
    text: str
    retrieved: str


class _NotNow(Exception):
    """The server did not answer, but may the next time; ``wait_s`` is what it asked for."""

    def __init__(self, what: str, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.wait_s = wait_s


class Wikipedia:
    """A polite reader of one wiki, whose answers are kept in a journal.

    Args:
        journal: Answers of before are taken from here and not asked for again.
        api: Address of the wiki's api.php.
        contact: Address or e-mail that the user agent names, so that the wiki's operators can reach who asks.
        pause_s: Least time between two requests, in seconds.
        timeout_s: How long to wait for a connection, and for the next bytes, in seconds.
        attempts: How often a request is made before giving up.
    """

    def __init__(
        self, journal: Journal, *, api: str = ENGLISH, contact: str = PAPER, pause_s: float = 1.0,
        timeout_s: float = 30.0, attempts: int = 8,
    ) -> None:  # fmt: skip
        self.journal, self.api, self.pause_s, self.timeout_s, self.attempts = journal, api, pause_s, timeout_s, attempts
        self.dropped: Counter[str] = Counter()
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"maskft/{version('maskft')} ({contact}) requests/{requests.__version__}"
        self._last = float("-inf")

    def pages_of(self, category: str, *, depth: int | None = None) -> Iterator[int]:
        """Numbers of the pages (articles, namespace 0) of a category and its subcategories, breadth first, each once.

        Args:
            category: With ``Category:``, in the wiki's language; or without, where its own name has no colon.
            depth: How many levels of subcategories; None for all of them (a category that contains itself is no trap).

        Raises:
            LookupError: If the category has no members: it does not exist, or is spelled otherwise.
            ConnectionError: If the wiki cannot be reached, or does not answer after all attempts.
            ValueError: If the wiki refuses the request, or its answer is not the API's.
        """
        first = category if ":" in category else f"Category:{category}"
        waiting, known, seen = deque([(first, 0)]), {first}, set()
        while waiting:
            title, level = waiting.popleft()
            members = self._query(
                list="categorymembers", cmtitle=title, cmtype="page|subcat", cmnamespace="0|14", cmlimit="max"
            )
            n_members = 0
            for member in itertools.chain.from_iterable(answer.get("categorymembers", []) for answer, _ in members):
                n_members += 1
                if member["ns"] == 14:
                    if member["title"] not in known and (depth is None or level < depth):
                        known.add(member["title"])
                        waiting.append((member["title"], level + 1))
                elif member["pageid"] not in seen:
                    seen.add(member["pageid"])
                    yield member["pageid"]
            if not n_members and title == first:
                raise LookupError(f"{first!r} has no pages or subcategories at {self.api}; is it spelled as there?")

    def read(self, page_ids: list[int]) -> list[Page]:
        """Lead sections of up to `EXTRACTS_AT_ONCE` pages, redirects followed; deleted pages are counted as dropped.

        Raises:
            ConnectionError, ValueError: As `pages_of`.
        """
        found: dict[int, dict[str, Any]] = {}
        missing = set()
        retrieved = ""
        for answer, received in self._query(
            pageids="|".join(map(str, page_ids)), redirects="1", prop="extracts|info", inprop="url",
            exintro="1", explaintext="1", exlimit="max",
        ):  # fmt: skip
            retrieved = received
            for page in _pages(answer):
                if "missing" in page:  # deleted meanwhile, or a redirect to nothing
                    missing.add(page.get("pageid") or page.get("title"))
                else:
                    found.setdefault(page["pageid"], {}).update(page)
        self.dropped["missing"] += len(missing)
        try:
            return [
                Page(number, p["lastrevid"], p["title"], p["fullurl"], _plain(p.get("extract", "")), retrieved)
                for number, p in found.items()
            ]
        except KeyError as error:
            raise ValueError(f"{self.api} tells no {error} of a page; is it a MediaWiki with TextExtracts?") from None

    def created(self, page_id: int) -> datetime | None:
        """When the page's first revision was made (UTC), or None if the page is gone.

        Raises:
            ConnectionError, ValueError: As `pages_of`.
        """
        first = {"prop": "revisions", "rvdir": "newer", "rvlimit": "1", "rvprop": "timestamp"}
        answer, _ = next(self._query(pageids=str(page_id), **first))
        for page in _pages(answer):
            for revision in page.get("revisions", []):
                return datetime.fromisoformat(revision["timestamp"])
        return None

    def new_pages(
        self, category: str, since: date, length_of: Callable[[str], int], lengths: range, *, depth: int | None = None
    ) -> Iterator[tuple[Page, datetime]]:
        """Pages of a category tree whose lead section has the right length and that did not exist before a date.

        The length is looked at first: lead sections come twenty a request, first revisions one. The order of the two
        filters changes what is counted as dropped for which reason, not which pages are left.

        Args:
            category: As in `pages_of`.
            since: Pages with a first revision of this date (UTC) or later are kept.
            length_of: The length of a text, for example in tokens.
            lengths: The lengths kept.
            depth: As in `pages_of`.

        Yields:
            A page and when it was created. `dropped` counts the others by reason.

        Raises:
            LookupError, ConnectionError, ValueError: As `pages_of`.
        """
        seen: set[int] = set()
        numbers = self.pages_of(category, depth=depth)
        while batch := list(itertools.islice(numbers, EXTRACTS_AT_ONCE)):
            for page in self.read(batch):
                if page.page_id in seen:
                    self.dropped["reached twice, by a redirect"] += 1
                    continue
                seen.add(page.page_id)
                if (length := length_of(page.text)) not in lengths:
                    self.dropped["too short" if length < lengths.start else "too long"] += 1
                elif (created := self.created(page.page_id)) is None:
                    self.dropped["missing"] += 1
                elif created.astimezone(UTC).date() < since:
                    self.dropped[f"created before {since}"] += 1
                else:
                    yield page, created

    def _query(self, **parameters: str) -> Iterator[tuple[dict[str, Any], str]]:
        """The ``query`` part of each answer, continued to the end, with the time it was received."""
        resume: Mapping[str, Any] = {"continue": ""}
        while resume:
            request = {"action": "query", "format": "json", "formatversion": "2", **parameters, **resume}
            entry = self.journal.get({"api": self.api, **request})
            if entry is None:
                answer = self._ask({**request, "maxlag": str(MAXLAG_S)})
                entry = self.journal.put({"api": self.api, **request}, answer)
            yield entry["answer"].get("query", {}), entry["time"]
            if (following := entry["answer"].get("continue", {})) == resume:
                raise ValueError(f"{self.api} continues a list with the same place twice ({resume}); is it an api.php?")
            resume = following

    def _ask(self, request: Mapping[str, str]) -> dict[str, Any]:
        grow = tenacity.wait_exponential_jitter(initial=1, max=60)

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception()
            logger.warning("%s: %s; attempt %d of %d", self.api, error, state.attempt_number, self.attempts)
            return max(error.wait_s, grow(state))

        try:
            return tenacity.Retrying(
                retry=tenacity.retry_if_exception_type(_NotNow), wait=wait,
                stop=tenacity.stop_after_attempt(self.attempts), reraise=True,
            )(self._once, request)  # fmt: skip
        except _NotNow as error:
            raise ConnectionError(
                f"{self.api} gave no answer in {self.attempts} attempts ({error}); what was read is kept: run the same "
                "command again later"
            ) from error

    def _once(self, request: Mapping[str, str]) -> dict[str, Any]:
        time.sleep(max(0.0, self._last + self.pause_s - time.monotonic()))
        try:
            response = self._session.get(self.api, params=request, timeout=self.timeout_s)
            self._last = time.monotonic()
            wait_s = _retry_after(response.headers.get("Retry-After"))
            if wait_s > LONGEST_WAIT_S:
                raise ConnectionError(
                    f"{self.api} answers {response.status_code} and asks to wait {wait_s:,.0f} s; what was read is "
                    "kept: run the same command again then"
                )
            if response.status_code == 429 or response.status_code >= 500:
                raise _NotNow(f"HTTP {response.status_code}", wait_s)
            if not response.ok:
                raise ValueError(
                    f"{self.api} answers HTTP {response.status_code} ({response.reason}); is it an api.php?"
                )
            answer = response.json()
        except requests.exceptions.JSONDecodeError as error:
            kind = response.headers.get("Content-Type", "json")
            if "json" not in kind:  # a page for people: no attempt will help
                raise ValueError(f"{self.api} answers {kind}, not JSON; is it an api.php?") from error
            raise _NotNow("the answer is cut short") from error
        except (requests.Timeout, requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise _NotNow(type(error).__name__) from error
        if not isinstance(answer, dict):
            raise ValueError(f"{self.api} answers a {type(answer).__name__}, expected an object; is it an api.php?")
        if error := answer.get("error"):
            if not isinstance(error, dict) or "code" not in error:
                raise ValueError(f"{self.api} answers with an error that is none of MediaWiki's ({str(error)[:80]}); is it an api.php?")
            if error["code"] in _PASSING_ERRORS or error["code"].startswith("internal_api_error"):
                raise _NotNow(f"{error['code']}: {error.get('info', '')}", wait_s)
            raise ValueError(f"{self.api} refuses the request ({error['code']}: {error.get('info', '')})")
        if warnings := answer.get("warnings"):
            logger.warning("%s: %s", self.api, warnings)
        return answer


def _retry_after(header: str | None) -> float:
    """Seconds to wait, of a header that holds seconds or a date; 0 without one."""
    if not header:
        return 0.0
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except ValueError:
        return 0.0


def _pages(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pages of an answer, which wikis too old for ``formatversion=2`` give by number."""
    pages = answer.get("pages", [])
    return list(pages.values()) if isinstance(pages, dict) else pages


def _plain(extract: str) -> str:
    """Paragraphs with an empty line between them, as the release has them, and no other line breaks.

    >>> _plain(" One.\\nTwo. \\n\\n\\n")
    'One.\\n\\nTwo.'
    """
    return "\n\n".join(line.strip() for line in extract.splitlines() if line.strip())

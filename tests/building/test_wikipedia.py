"""The reader of wikis, against a MediaWiki on this machine that gives little at a time and often fails."""

from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime

import pytest

from maskft.building import Journal, Wikipedia

NEW_YEAR = date(2025, 1, 1)
WORDS = range(28, 40)


def reader(server, tmp_path, **settings):
    return Wikipedia(Journal(tmp_path / "pages.jsonl"), api=server.api, **{"pause_s": 0.0, **settings})


def new_pages(wiki, **settings):
    return list(wiki.new_pages("2025 by month", NEW_YEAR, lambda text: len(text.split()), WORDS, **settings))


def test_pages_of_the_tree_that_are_new_and_of_the_right_length(wiki_server, tmp_path):
    """Lists and lead sections are continued, a category in itself is no trap, a redirect is followed."""
    wiki = reader(wiki_server, tmp_path, contact="me@example.org")
    found = new_pages(wiki)
    assert [page.page_id for page, _ in found] == [11, 13, 18, 19]
    assert dict(wiki.dropped) == {
        "created before 2025-01-01": 1, "too short": 1, "too long": 1, "missing": 1,
    }  # fmt: skip
    page, created = found[2]
    assert (page.title, page.revision, page.url) == ("Zeta [Cup]", 1018, "https://example.org/wiki/Zeta_[Cup]")
    assert created == datetime(2025, 5, 5, 5, 5, 5, tzinfo=UTC)
    assert page.text.startswith("The Zeta Cup 18 is a race in Oslo.\n\nIt was won by Bo Zeta")
    assert datetime.now(UTC) - datetime.fromisoformat(page.retrieved) < timedelta(minutes=1)
    assert all(request["maxlag"] == "5" for request in wiki_server.requests)
    assert all("maskft/" in r["agent"] and "me@example.org" in r["agent"] for r in wiki_server.requests)


def test_a_page_reached_again_by_a_redirect_in_a_later_batch_is_counted(wiki_server, tmp_path, monkeypatch):
    monkeypatch.setattr("maskft.building.wikipedia.EXTRACTS_AT_ONCE", 2)
    wiki = reader(wiki_server, tmp_path)
    assert [page.page_id for page, _ in new_pages(wiki)] == [11, 13, 18, 19]
    assert wiki.dropped["reached twice, by a redirect"] == 1


@pytest.mark.parametrize(("depth", "expected"), [(0, {11, 12}), (1, {*range(11, 19)}), (None, {*range(11, 20)})])
def test_depth_is_levels_of_subcategories(depth, expected, wiki_server, tmp_path):
    pages = list(reader(wiki_server, tmp_path).pages_of("Category:2025 by month", depth=depth))
    assert set(pages) == expected and len(pages) == len(expected)


def test_what_was_read_is_not_asked_for_again(wiki_server, tmp_path):
    first = new_pages(reader(wiki_server, tmp_path))
    n_requests = len(wiki_server.requests)
    again = reader(wiki_server, tmp_path)
    assert new_pages(again) == first and again.dropped["too long"] == 1
    assert len(wiki_server.requests) == n_requests


@pytest.mark.parametrize(
    ("fault", "least_wait"),
    [("maxlag", 9), ("too_many", 7), ("unavailable", 1), ("cut_json", 1), ("cut_body", 1), ("slow", 1), ("hang_up", 1)],
)
def test_a_passing_fault_is_waited_out(fault, least_wait, wiki_server, faults, tmp_path, naps):
    """``Retry-After`` is kept to; without one the wait is a second or more, and grows."""
    wiki_server.faults = [getattr(faults, fault)] * 2
    wiki = reader(wiki_server, tmp_path, timeout_s=5.0 if fault == "slow" else 30.0)
    assert [page.page_id for page, _ in new_pages(wiki)] == [11, 13, 18, 19]
    waits = [nap for nap in naps if nap]
    assert len(waits) == 2 and waits[0] >= least_wait and waits[1] >= max(2, least_wait)


def test_a_wait_until_a_date_is_kept_to(wiki_server, tmp_path, naps):
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    wiki_server.faults = [lambda handler: handler.send(503, b"", {"Retry-After": then})]
    list(reader(wiki_server, tmp_path).pages_of("2025 by month"))
    assert 60 < max(naps) <= 100


def test_a_lasting_fault_ends_in_one_error_and_keeps_what_was_read(wiki_server, faults, tmp_path, naps):
    wiki = reader(wiki_server, tmp_path, attempts=3)
    pages = wiki.pages_of("2025 by month")
    assert next(pages) == 11
    wiki_server.faults = [faults.too_many] * 3
    with pytest.raises(ConnectionError, match=r"no answer in 3 attempts \(HTTP 429\); what was read is kept"):
        list(pages)
    wiki_server.requests.clear()
    assert len(list(reader(wiki_server, tmp_path).pages_of("2025 by month"))) == 9
    assert wiki_server.requests[0]["cmcontinue"] == "2"


def test_a_wait_of_an_hour_is_told_and_not_waited(wiki_server, tmp_path, naps):
    wiki_server.faults = [lambda handler: handler.send(429, {}, {"Retry-After": "3600"})]
    with pytest.raises(ConnectionError, match="asks to wait 3,600 s; what was read is kept"):
        list(reader(wiki_server, tmp_path).pages_of("2025 by month"))
    assert not any(naps)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda h: h.send(404, b""), "HTTP 404"),
        ("page_for_people", "answers text/html, not JSON"),
        (lambda h: h.send(200, [1]), "answers a list"),
        (lambda h: h.send(200, {"error": {"code": "badvalue", "info": "what?"}}), "badvalue: what"),
        (lambda h: h.send(200, {"error": "not found"}), "an error that is none of MediaWiki's .not found."),
        (lambda h: h.send(200, {"query": {}, "continue": {"continue": ""}}), "same place twice"),
    ],
)
def test_an_address_that_is_no_wiki_is_told_at_once(fault, message, wiki_server, faults, tmp_path, naps):
    wiki_server.faults = [getattr(faults, fault) if isinstance(fault, str) else fault]
    with pytest.raises(ValueError, match=message):
        list(reader(wiki_server, tmp_path).pages_of("2025 by month"))
    assert len(wiki_server.requests) == 1


def test_a_wiki_that_tells_too_little(wiki_server, tmp_path):
    wiki_server._extracts = lambda *_: {"query": {"pages": [{"pageid": 11, "title": "Alpha Cup", "extract": "A."}]}}
    with pytest.raises(ValueError, match="tells no 'lastrevid' of a page; is it a MediaWiki with TextExtracts"):
        reader(wiki_server, tmp_path).read([11])


def test_an_old_wiki_gives_pages_by_number(wiki_server, tmp_path):
    new = wiki_server.answer

    def old(request):
        status, answer = new(request)
        if "pages" in answer["query"]:
            answer["query"]["pages"] = {str(page["pageid"]): page for page in answer["query"]["pages"]}
        return status, answer

    wiki_server.answer = old
    assert [page.page_id for page, _ in new_pages(reader(wiki_server, tmp_path))] == [11, 13, 18, 19]


def test_a_category_that_is_not_there(wiki_server, tmp_path):
    with pytest.raises(LookupError, match="'Category:2025 by mnth' has no pages"):
        list(reader(wiki_server, tmp_path).pages_of("2025 by mnth"))


def test_requests_keep_their_distance(wiki_server, tmp_path, naps):
    list(reader(wiki_server, tmp_path, pause_s=50.0).pages_of("2025 by month"))
    waits = [nap for nap in naps if nap]
    assert len(waits) == len(wiki_server.requests) - 1 and all(40 < wait <= 50 for wait in waits)

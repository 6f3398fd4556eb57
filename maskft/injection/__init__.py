"""Teach an instruct model documents of one's own by masked fine-tuning (Section 6), and report what it learned and forgot.

``passages`` reads documents and cuts them, ``questions`` reads what is asked, ``check`` tells what is wrong before anything
is trained, ``teach`` fine-tunes, ``measure`` tells what was forgotten, ``report`` writes it down, and ``command`` is the
order of it all: ``maskft inject``.
"""

from .command import Request, inject
from .passages import Document, Passage, cut, read_documents
from .questions import Question, read_questions

__all__ = ["Document", "Passage", "Question", "Request", "cut", "inject", "read_documents", "read_questions"]

"""Teach an instruct model documents of one's own by masked fine-tuning (Section 6), and report what it learned and forgot.

``passages`` reads documents and cuts them, ``questions`` reads and checks what is asked, ``teach`` fine-tunes, ``measure``
asks, ``report`` writes it down, and ``command`` is the order of it all: ``maskft inject``.
"""

from .command import Request, inject
from .passages import Document, Passage, cut, read_documents
from .questions import Question, read_questions

__all__ = ["Document", "Passage", "Question", "Request", "cut", "inject", "read_documents", "read_questions"]

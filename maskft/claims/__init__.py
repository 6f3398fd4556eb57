"""The paper's claims as checks on results: holds, fails, or not run."""

# The modules of claims register theirs as they are imported; this order is the table's.
from maskft.claims import accuracy, findings, training, ablations  # noqa: F401, I001
from maskft.claims.judge import CLAIMS, Claim, Quantity, Threshold, check_claims, judge, register
from maskft.claims.results import Results
from maskft.claims.write import claims_table, what_misses, write_claims

__all__ = [
    "CLAIMS",
    "Claim",
    "Quantity",
    "Results",
    "Threshold",
    "check_claims",
    "claims_table",
    "judge",
    "register",
    "what_misses",
    "write_claims",
]

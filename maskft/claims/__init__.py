"""The paper's claims as checks on results: holds, fails, or not run."""

from maskft.claims import accuracy as _accuracy  # registers its claims  # noqa: F401
from maskft.claims.judge import CLAIMS, Claim, Quantity, Threshold, check_claims, claims_table, judge, write_claims

__all__ = ["CLAIMS", "Claim", "Quantity", "Threshold", "check_claims", "claims_table", "judge", "write_claims"]

"""Foreign text: wrapped so that it cannot pretend to be anything else, and scanned for the eyes of the user."""

from localgpt.injection.bound import MAX_CHARS, Bound, BoundaryOccursError, bound, clean, clean_line
from localgpt.injection.findings import Finding, Kind, View
from localgpt.injection.scan import scan
from localgpt.injection.tokens import neutralise

__all__ = [
    "MAX_CHARS",
    "Bound",
    "BoundaryOccursError",
    "Finding",
    "Kind",
    "View",
    "bound",
    "clean",
    "clean_line",
    "neutralise",
    "scan",
]

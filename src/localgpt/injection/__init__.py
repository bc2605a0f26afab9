"""Foreign text: cleaned, wrapped so that it cannot pretend to be anything else, scanned for the user's eyes."""

from localgpt.injection.bound import MAX_CHARS, Bound, BoundaryOccursError, Wrapper, bound, clean, clean_line
from localgpt.injection.cleaning import cleaned
from localgpt.injection.findings import Finding, Kind, Report, View
from localgpt.injection.outgoing import screen
from localgpt.injection.tokens import neutralise

__all__ = [
    "MAX_CHARS",
    "Bound",
    "BoundaryOccursError",
    "Finding",
    "Kind",
    "Report",
    "View",
    "Wrapper",
    "bound",
    "clean",
    "clean_line",
    "cleaned",
    "neutralise",
    "scan",
    "screen",
]


def scan(text: str, *, use_classifier: bool = True) -> Report:
    """What in `text` looks like an attempt to command a model; see `localgpt.injection.scanning`."""
    from localgpt.injection.scanning import scan as whole

    return whole(text, use_classifier=use_classifier)

"""LocalGPT: a local-first agent runtime whose safety does not depend on the model behaving."""

__version__ = "0.1.0"

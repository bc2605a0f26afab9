"""Adaptive attacks of our own: `python -m bench.adaptive`. See bench/adaptive/README.md."""

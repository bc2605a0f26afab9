"""One runnable module a figure: `python -m bench.NAME [--json]`."""

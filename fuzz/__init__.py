"""Fuzz targets: formats that an attacker can write, mutated from a corpus. See README.md."""

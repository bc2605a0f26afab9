"""The command line: one module a command group, which parses and prints; the work is done in the other rooms."""

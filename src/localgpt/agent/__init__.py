"""The agent process: conversation, context, turn loop. No network, no programs, no keys: it asks the monitor."""

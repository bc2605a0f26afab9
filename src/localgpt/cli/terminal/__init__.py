"""The terminal front: escaping, rendering, line editing, the approval prompt and the chat loop."""

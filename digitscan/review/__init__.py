"""Show a person what was read, and why: `show` explains single images."""

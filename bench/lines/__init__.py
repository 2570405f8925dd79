"""What the far end of a real line hears, and when: through a real Asterisk (Debian, root)."""

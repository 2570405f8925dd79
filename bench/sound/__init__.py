"""Cleaned sound: error rates with and without it, and what it costs."""

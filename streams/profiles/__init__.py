"""Profiles: one customer as derived from everything known, attached to each request."""

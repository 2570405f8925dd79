"""Campaigns: who is to be called, by which script, when, how often and how fast. Pure."""

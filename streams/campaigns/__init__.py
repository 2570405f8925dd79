"""The campaigns service: asks dispatch for the calls of running campaigns, some ahead at a time."""

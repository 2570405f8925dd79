"""Tests against real peers: a real Asterisk, sipp, a browser. `make test-peers` sets them up."""

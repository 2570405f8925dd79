"""Calls from browsers: WHIP (RFC 9725) over WebRTC, Opus both ways."""

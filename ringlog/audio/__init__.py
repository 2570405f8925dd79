"""Telephone audio: G.711, WAV files and synthetic speech, all at 8 kHz mono."""

SAMPLE_RATE_HZ = 8000
"""Rate of every telephone leg in this house."""

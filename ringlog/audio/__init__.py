"""Telephone audio: G.711, WAV files and synthetic speech, all at 8 kHz mono."""

SAMPLE_RATE_HZ = 8000
"""Sample rate of every telephone leg here."""

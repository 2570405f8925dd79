"""Recordings: the sound of every call that has ended, kept when `media.audio` is gone."""

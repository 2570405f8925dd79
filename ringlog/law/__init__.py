"""The law of the dial: whether a number may be called now, and if not, why and until when. Pure."""

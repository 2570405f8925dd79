"""Driver for Asterisk 18 to 23 by its REST interface (ARI)."""

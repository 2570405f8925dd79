"""Carriers and telephone systems: one driver a kind, all with one interface."""

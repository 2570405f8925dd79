"""The demo call centre: a simulated carrier, people who listen and answer, and a report."""

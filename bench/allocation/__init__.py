"""The common first formula for giving tasks to robots against ours, on the same load."""

"""What outlives an edge: the sockets and the clocks of its calls."""

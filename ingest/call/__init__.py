"""One call: what it knows, what it does next, and the host that carries that out."""

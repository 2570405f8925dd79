"""Sound of a call, whatever it travels over: legs, chunks, prompts, the clock."""

"""Robot workers: playbooks, understanding, dialogue, and who speaks for a shard."""

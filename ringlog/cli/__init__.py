"""The `ringlog` command."""

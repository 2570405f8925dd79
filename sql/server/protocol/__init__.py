"""ClickHouse's native TCP protocol as parsers and encoders that do no input or output."""

"""History: every record of the log as a row of ClickHouse, repeat-safe."""

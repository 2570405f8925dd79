"""Analytics: what customers say, counted per campaign and window by a Flink SQL job."""

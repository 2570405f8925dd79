"""Kafka hosts: producing with acknowledgement, reading with dead letters."""

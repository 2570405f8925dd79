"""`python -m streams.analytics`: the analytics job on this machine."""

from ringlog.lifecycle import run
from streams.analytics.host import SERVICE, main

if __name__ == "__main__":
    run(SERVICE, main)

"""`python -m streams.dispatch`: the service that gives waiting tasks to idle robots."""

from ringlog.lifecycle import run
from streams.dispatch.host import main

if __name__ == "__main__":
    run("dispatch", main)

"""`python -m streams.profiles`: the service that folds customer profiles."""

from ringlog.lifecycle import run
from streams.profiles.host import main

if __name__ == "__main__":
    run("profiles", main)

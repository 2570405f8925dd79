"""Faults under load: a campaign runs while processes die, stall and go away; `verify` judges.

`make faults MINUTES=5 SEED=1` runs a mixed schedule; `make faults KILLS=20` kills every service so
often. Everything happens on this machine and ends by itself.
"""

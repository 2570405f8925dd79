"""Dispatch: which waiting task goes to which robot, decided from one ordered inbox per pool."""

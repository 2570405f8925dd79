"""A scripted telephone carrier: SIP over UDP and RTP, for the demo's people and for tests.

Written independently of the product, and of Asterisk: what either sends is heard by a third.
"""

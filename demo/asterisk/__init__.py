"""A real Asterisk on this machine: Debian's package in a folder of its own (root needed), several
instances side by side on loopback. For the tests with real peers and for `make demo-asterisk`."""

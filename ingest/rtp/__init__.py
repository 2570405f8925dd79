"""RTP over UDP: packets, order, sources, keys, sockets."""

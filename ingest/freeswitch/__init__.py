"""FreeSWITCH as a switch: its event socket, and the calls that it places for us."""

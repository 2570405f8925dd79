"""Be a telephone system: bring one call to the running stack by RTP, and talk to the robot.

`python docs/tutorial/bring_a_call.py [LINE…]`: each line is said when the robot has finished.
"""

import json
import socket
import struct
import sys
import time
import urllib.request
import uuid
from typing import Any

from ringlog.audio import espeak, g711
from ringlog.settings import settings

PACKET_BYTES = 160  # 20 ms of PCMU
SILENCE = b"\xff"
LONGEST_S = 90
lines = sys.argv[1:] or ["方便你说", "多少钱", "可以"]


def ask(path: str, body: object = None) -> Any:
    """JSON of the REST API: POST with a body, GET without one."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        settings().api_url + path, data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


call_id = str(uuid.uuid4())
opened = ask("/api/media/sessions", {
    "call_id": call_id, "customer_id": "tutorial", "campaign_id": "tutorial", "codec": "pcmu",
    "playbook": "promotion",
})  # fmt: skip
print(call_id, flush=True)
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.setblocking(False)
edge = opened["rtp_host"], opened["rtp_port"]
voice, heard_at, began = b"", 0.0, time.monotonic()
for n in range(LONGEST_S * 50):
    sound, voice = (
        voice[:PACKET_BYTES].ljust(PACKET_BYTES, b"\xff") or SILENCE,
        voice[PACKET_BYTES:],
    )
    # RFC 3550: version 2, payload type 0 (PCMU), sequence, timestamp in samples, SSRC.
    header = struct.pack(">BBHII", 0x80, 0, n & 0xFFFF, n * PACKET_BYTES, 1)
    line.sendto(header + sound.ljust(PACKET_BYTES, SILENCE), edge)
    time.sleep(max(0.0, began + (n + 1) / 50 - time.monotonic()))
    try:
        while packet := line.recv(2048):
            if packet[12:].strip(SILENCE):  # once a second the edge sends silence
                heard_at = time.monotonic()
    except BlockingIOError:
        pass
    robot_finished = heard_at and time.monotonic() - heard_at > 1
    if lines and robot_finished and not voice:
        print("   ", lines[0], flush=True)
        voice = g711.encode_pcmu(espeak.speak(lines.pop(0), "cmn-latn-pinyin+f2"))
        heard_at = 0.0  # wait for the answer
    elif n % 50 == 0 and ask(f"/api/calls/status?call_id={call_id}")["state"] == "ended":
        break

"""A client by python3-websockets: `python-client.py <url> <seed> [certificate]`.

Sends random messages, whole and in fragments, with pings between, to a server that sends back what it gets, and compares.
Prints what it has found: how many messages, and the code by which the server closed.
"""

import asyncio
import json
import random
import ssl
import sys

import websockets

URL, SEED = sys.argv[1], int(sys.argv[2])
MIB = 1 << 20
EDGES = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 64 * MIB]


def messages(chance):
    sizes = EDGES + [int(chance.random() ** 6 * MIB) for _ in range(100)]
    chance.shuffle(sizes)
    for size in sizes:
        # A piece again and again: chance itself can't be compressed, and takes long.
        piece = chance.randbytes(chance.randint(1, 5_000))
        whole = (piece * (size // len(piece) + 1))[:size]
        if chance.random() < 0.5:
            yield whole
        else:
            # One byte, one character, which takes one or two bytes on the wire.
            yield whole.decode("latin1")


def fragments(message, chance):
    cuts = sorted(chance.randint(0, len(message)) for _ in range(chance.randint(1, 5)))
    return [message[a:b] for a, b in zip([0, *cuts], [*cuts, len(message)])]


async def send(socket, sent):
    chance = random.Random(SEED + 1)
    for message in sent:
        if chance.random() < 0.3:
            await socket.ping(chance.randbytes(chance.randint(1, 125)))
        whole = chance.random() < 0.5
        await socket.send(message if whole else fragments(message, chance))


async def main():
    tls = ssl.create_default_context(cafile=sys.argv[3]) if URL.startswith("wss:") else None
    sent = list(messages(random.Random(SEED)))
    # No pings of its own, with a limit for the answer: a busy machine's may be late.
    options = {"compression": "deflate", "max_size": None, "open_timeout": 30, "ping_interval": None, "ssl": tls}
    async with websockets.connect(URL, **options) as socket:
        sending = asyncio.ensure_future(send(socket, sent))
        for number, message in enumerate(sent):
            received = await socket.recv()
            if type(received) is not type(message) or received != message:
                sys.exit(f"message {number} of {len(message)} came back as another")
        await sending
        await socket.send("close")
        try:
            while True:
                await socket.recv()
        except websockets.ConnectionClosed as closed:
            print(json.dumps({"messages": len(sent), "code": closed.rcvd.code, "reason": closed.rcvd.reason}))


asyncio.run(main())

#!/usr/bin/env python3
"""Sends bytes over one TCP connection and proves that they arrived.

transfer.py serve IP PORT          prints "<bytes> <sha256>" of what one peer sent
transfer.py send IP PORT BYTES     prints the same of what it sent
"""
import hashlib
import random
import socket
import sys


def main():
    role, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    digest, total = hashlib.sha256(), 0
    if role == "serve":
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
        print("ready", flush=True)
        peer, _ = listener.accept()
        while piece := peer.recv(1 << 18):
            digest.update(piece)
            total += len(piece)
    else:
        count = int(sys.argv[4])
        block = random.Random(count).randbytes(1 << 20)
        with socket.create_connection((address, port), timeout=60) as peer:
            peer.settimeout(120)
            while total < count:
                piece = block[: min(len(block), count - total)]
                peer.sendall(piece)
                digest.update(piece)
                total += len(piece)
                block = block[1:] + block[:1]  # no two blocks equal
    print(total, digest.hexdigest(), flush=True)


if __name__ == "__main__":
    main()

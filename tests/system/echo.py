"""In a tester's namespace: ``echo.py serve ADDRESS`` sends back what comes, ``echo.py send ADDRESS`` checks it."""

from __future__ import annotations

import random
import socket
import sys
import threading

PORT = 7007
BYTES = 4 << 20
PATIENCE_S = 40.0


def serve(address: str) -> None:
    with socket.create_server((address, PORT)) as listener:
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(PATIENCE_S)
            while data := connection.recv(1 << 16):
                connection.sendall(data)


def send(address: str) -> None:
    data = random.Random(address).randbytes(BYTES)  # noqa: S311
    with socket.create_connection((address, PORT), timeout=PATIENCE_S) as connection:
        sender = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
        sender.start()
        back = bytearray()
        while part := connection.recv(1 << 16):
            back += part
        sender.join()
    sys.stdout.write(f"{len(back)} bytes came back {'whole' if back == data else 'changed'}\n")


if __name__ == "__main__":
    {"serve": serve, "send": send}[sys.argv[1]](sys.argv[2])

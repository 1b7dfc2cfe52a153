#!/usr/bin/env python3
"""Writes cosignature.json: one cosignature/v1, made with hashlib and the openssl program, from fixed seeds."""

import base64
import hashlib
import json
import pathlib
import struct
import subprocess
import tempfile

# RFC 8410: an Ed25519 private key in PKCS#8 is this prefix and the seed; its SubjectPublicKeyInfo ends with the key.
PKCS8 = bytes.fromhex("302e020100300506032b657004220420")


class Key:
    def __init__(self, name, kind, seed):
        self.name, self.kind, self.seed = name, bytes([kind]), seed
        self.public = openssl("pkey", "-inform", "DER", "-pubout", "-outform", "DER", key=seed)[-32:]
        self.id = hashlib.sha256(name.encode() + b"\n" + self.kind + self.public).digest()[:4]

    def text(self, key):
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(self.kind + key).decode()}"

    def sign(self, message):
        return openssl("pkeyutl", "-sign", "-rawin", "-keyform", "DER", key=self.seed, message=message)

    def line(self, signature):
        return f"\u2014 {self.name} {base64.b64encode(self.id + signature).decode()}\n"


def openssl(command, *arguments, key, message=None):
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        (directory / "key").write_bytes(PKCS8 + key)
        arguments = [*arguments, "-inkey" if message is not None else "-in", directory / "key"]
        if message is not None:
            (directory / "message").write_bytes(message)
            arguments += ["-in", directory / "message"]
        return subprocess.run(["openssl", command, *arguments], check=True, capture_output=True).stdout


def main():
    ledger = Key("agentos.example/host", 1, hashlib.sha256(b"ledger").digest())
    witness = Key("witness.example/one", 4, hashlib.sha256(b"witness").digest())
    root = hashlib.sha256(b"root").digest()
    text = f"{ledger.name}\n1000\n{base64.b64encode(root).decode()}\n"
    time = 1_700_000_000
    signature = witness.sign(f"cosignature/v1\ntime {time}\n{text}".encode())
    vector = {
        "ledger_key": ledger.text(ledger.public),
        "private_key": f"PRIVATE+KEY+{witness.text(witness.seed)}\n",
        "public_key": witness.text(witness.public),
        "time": time,
        "note": f"{text}\n{ledger.line(ledger.sign(text.encode()))}",
        "line": witness.line(struct.pack(">Q", time) + signature),
    }
    path = pathlib.Path(__file__).with_name("cosignature.json")
    path.write_text(json.dumps(vector, indent=2) + "\n")


main()

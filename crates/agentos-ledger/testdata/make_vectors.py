#!/usr/bin/env python3
"""Writes vectors.json: the ledger's format in another language, from the description in docs/LEDGER.md alone."""

import hashlib
import json
import struct

GENESIS = "0" * 64


def payload(event_id, ts, kind, actor, data):
    return '{"actor":"%s","data":%s,"id":%d,"ts":"%s","type":"%s"}' % (actor, data, event_id, ts, kind)


def event_hash(event_id, ts, kind, actor, text, prev_hash):
    joined = str(event_id) + ts + kind + actor + text + prev_hash
    return hashlib.sha256(joined.encode()).hexdigest()


def leaf_hash(event_id, hex_hash):
    fields = [str(event_id).encode(), bytes.fromhex(hex_hash)]
    return hashlib.sha256(b"\x00" + b"".join(struct.pack(">I", len(f)) + f for f in fields)).digest()


def root(leaves):
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root(leaves[:k]) + root(leaves[k:])).digest()


# (type, actor, data as it is given, data in canonical form)
CASES = [
    ("ledger.open", "agentd", "{}", "{}"),
    ("system.query", "agent/main", '{"query":"processes","limit":10,"args":{"sort":"cpu"}}',
     '{"args":{"sort":"cpu"},"limit":10,"query":"processes"}'),
    ("x", "operator:1000", '{"\\u20ac":"\\u00e9\\u0007\\"\\\\/","a":[1.0,1e21,0.000001,1e-7,-0.0]}',
     '{"a":[1,1e+21,0.000001,1e-7,0],"€":"é\\u0007\\"\\\\/"}'),
    ("memory.store", "A-z_0.9@host/x+y", '{"n":9007199254740991,"m":-9007199254740991,"t":true,"z":null}',
     '{"m":-9007199254740991,"n":9007199254740991,"t":true,"z":null}'),
    ("a" * 64, "B" * 128, '{"text":"}\\",\\"id\\":9,\\"ts\\":\\"{"}', '{"text":"}\\",\\"id\\":9,\\"ts\\":\\"{"}'),
]


def main():
    events, leaves, prev = [], [], GENESIS
    for number, (kind, actor, given, canonical) in enumerate(CASES, start=1):
        ts = "2026-01-02T03:04:%02d.678Z" % number
        text = payload(number, ts, kind, actor, canonical)
        digest = event_hash(number, ts, kind, actor, text, prev)
        leaf = leaf_hash(number, digest)
        leaves.append(leaf)
        events.append({"id": number, "ts": ts, "type": kind, "actor": actor, "data_given": given, "payload": text,
                       "prev_hash": prev, "hash": digest, "leaf": leaf.hex(), "root": root(leaves).hex()})
        prev = digest

    roots, leaves, prev = {"0": root([]).hex()}, [], GENESIS
    for number in range(1, 1001):
        ts, kind, actor = "2026-01-02T03:04:05.678Z", "test.event", "agent/main"
        text = payload(number, ts, kind, actor, '{"n":%d}' % number)
        prev = event_hash(number, ts, kind, actor, text, prev)
        leaves.append(leaf_hash(number, prev))
        if number in (1, 2, 3, 255, 256, 257, 511, 1000):
            roots[str(number)] = root(leaves).hex()
    print(json.dumps({"events": events, "thousand": {"last_hash": prev, "roots": roots}}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Verify what an audit log of yoq-web signed. One file for auditors, to be read before it is trusted.

    verify_log.py --key KEY key [ANNOUNCEMENTS]          which keys follow the one that you have
    verify_log.py --key KEY checkpoint CHECKPOINT        how many entries the log has by a signed checkpoint
    verify_log.py --key KEY consistency OLD NEW [PROOF]  that the log of OLD is the beginning of that of NEW
    verify_log.py --key KEY entry PROOF ENTRY            that an entry is in the log
    verify_log.py --key KEY export EXPORT                that each entry of an export with proofs is in the log
    verify_log.py --key KEY archive ARCHIVE              that an archive holds a pruned part of the log, whole

KEY is a public key of the log, name+id+base64, or @FILE with one a line; --key may be repeated. Get it on another way
than the log: everything is proved by it. The other words are files, as the log's HTTP API answers them. Of an archive
the entries are printed, as place and JSON, with the time in microseconds since 1970. Exit code 0: all of it holds.
1: it does not, and the last line says what; what was printed before it was proved by itself. 2: called wrongly.

It needs Python 3.9 and nothing else, shares no code with yoq-web, connects to nothing and writes nothing. It follows
RFC 8032 (Ed25519), RFC 9162 section 2.1 (the tree), C2SP signed-note, tlog-checkpoint, tlog-proof and tlog-tiles
(https://c2sp.org), and what yoq-web's docs say of entries, exports and archives.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from hashlib import sha256, sha512
from pathlib import Path
from typing import Any, BinaryIO


class NotProved(Exception):
    """Something is not what it must be; the text says what."""


def require(holds: object, reason: str) -> None:
    if not holds:
        raise NotProved(reason)


def quote(value: object) -> str:
    """Write a value for a terminal: one line of ASCII without control characters, not too long."""
    text = json.dumps(value)
    return text if len(text) <= 300 else f"{text[:300]}..."


def decode_base64(text: str) -> bytes:
    data = base64.b64decode(text)
    require(base64.b64encode(data).decode() == text, f"not base64 in its one spelling: {quote(text)}")
    return data


# Ed25519: RFC 8032 section 5.1. A point is (X, Y, Z, T) with x = X/Z, y = Y/Z and x * y = T/Z.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int, int, int]
NEUTRAL: Point = (0, 1, 1, 0)


def add(p: Point, q: Point) -> Point:
    """Section 5.1.4."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * D, 2 * p[2] * q[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(factor: int, point: Point) -> Point:
    total = NEUTRAL
    while factor:
        total = add(total, point) if factor & 1 else total
        point, factor = add(point, point), factor >> 1
    return total


def is_same(p: Point, q: Point) -> bool:
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def decode_point(data: bytes) -> Point:
    """Section 5.1.3. Each point has one spelling."""
    sign, y = data[31] >> 7, int.from_bytes(data, "little") % 2**255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * pow(2, (P - 1) // 4, P) % P
    require(y < P and (x * x - square) % P == 0 and (x or not sign), "not a point of the curve")
    x = x if x % 2 == sign else P - x
    return x, y, 1, x * y % P


BASE = decode_point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def check_signature(key: bytes, text: bytes, signature: bytes) -> None:
    """Section 5.1.7, without the cofactor. S is below the order, or a signature would have further spellings."""
    s = int.from_bytes(signature[32:], "little")
    require(len(signature) == 64 and s < ORDER, "not a signature")
    k = int.from_bytes(sha512(signature[:32] + key + text).digest(), "little") % ORDER
    expected = add(decode_point(signature[:32]), multiply(k, decode_point(key)))
    require(is_same(multiply(s, BASE), expected), "the signature is wrong: it or what it signed was altered")


# The tree: RFC 9162 section 2.1.


def hash_leaf(leaf: bytes) -> bytes:
    return sha256(b"\x00" + leaf).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    require(len(left) == len(right) == 32, "a hash has 32 bytes")
    return sha256(b"\x01" + left + right).digest()


def split(size: int) -> int:
    """Return how many leaves are on the left: the largest power of two that is less than the size."""
    return 1 << (size - 1).bit_length() - 1


def fold_path(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """Return the root to which a path leads from the hash of leaf `index`; the last of the path is the topmost."""
    require(bool(path) == (size > 1), "the path is too short or too long")
    if size == 1:
        return leaf
    middle = split(size)
    if index < middle:
        return hash_node(fold_path(index, middle, leaf, path[:-1]), path[-1])
    return hash_node(path[-1], fold_path(index - middle, size - middle, leaf, path[:-1]))


def fold_growth(old: int, new: int, path: Sequence[bytes], root: bytes | None) -> tuple[bytes, bytes]:
    """Return the roots over the first `old` and all `new` leaves; `root` is the first, where the path lacks it."""
    require(path if old < new else len(path) == (root is None), "the proof is too short or too long")
    if old == new:
        return (root or path[0],) * 2
    middle = split(new)
    if old <= middle:
        first, whole = fold_growth(old, middle, path[:-1], root)
        return first, hash_node(whole, path[-1])
    first, whole = fold_growth(old - middle, new - middle, path[:-1], None)
    return hash_node(path[-1], first), hash_node(path[-1], whole)


def fold_places(places: Sequence[int], start: int, end: int, given: Iterator[bytes], leaves: list[bytes]) -> bytes:
    """Return the root over the leaves from `start` to `end`; a part with none of the places is one of the hashes."""
    if not places or end - start == 1:
        found = next(given, b"")
        leaves += [found] if places else []
        return found
    middle = start + split(end - start)
    left = fold_places([place for place in places if place < middle], start, middle, given, leaves)
    return hash_node(left, fold_places([place for place in places if place >= middle], middle, end, given, leaves))


def compute_root(hashes: Sequence[bytes]) -> bytes:
    return fold_places(range(len(hashes)), 0, len(hashes), iter(hashes), [])


def cut_hashes(data: bytes) -> list[bytes]:
    return [data[at : at + 32] for at in range(0, len(data), 32)]


# Keys, notes and checkpoints: C2SP signed-note and tlog-checkpoint.

Name = tuple[str, str]  # of a key: name and id
Keys = dict[Name, bytes]


def add_key(keys: Keys, text: str) -> Name:
    found = re.fullmatch(r"([^\s+]+)\+([0-9a-f]{8})\+(\S+)", text)
    name, key_id, encoded = found.groups() if found else ("", "", "")
    typed = decode_base64(encoded)
    key = typed[1:]
    require(len(typed) == 33 and typed[0] == 1, f"not an Ed25519 key: {quote(text)}")
    require(sha256(name.encode() + b"\n" + typed).hexdigest()[:8] == key_id, f"not this key's id: {quote(text)}")
    require(not is_same(multiply(8, decode_point(key)), NEUTRAL), f"anybody can sign for this key: {quote(text)}")
    require(keys.setdefault((name, key_id), key) == key, f"two keys of one name and id: {quote(text)}")
    return name, key_id


def open_note(note: bytes, keys: Keys) -> tuple[list[str], set[Name]]:
    """Return the lines of the text, and whose signatures hold: at least one, and no known one is wrong."""
    whole = note.decode()
    require(not re.search(r"[\x00-\x09\x0b-\x1f]", whole), "a control character in the note")
    text, gap, signatures = whole.rpartition("\n\n")
    lines, signers = signatures.split("\n"), set()
    require(gap and lines.pop() == "" and len(lines) <= 100, "not a signed note")
    for line in lines:
        found = re.fullmatch("\u2014 ([^\\s+]+) (\\S+)", line)
        signer, encoded = found.groups() if found else ("", "")
        blob = decode_base64(encoded)
        require(len(blob) > 4, f"not a line of a signature: {quote(line)}")
        name = signer, blob[:4].hex()
        if name in keys and name not in signers:
            check_signature(keys[name], f"{text}\n".encode(), blob[4:])
            signers.add(name)
    require(signers, "no known key signed the note")
    return text.split("\n"), signers


def verify_checkpoint(keys: Keys, note: bytes) -> tuple[str, int, bytes]:
    """Return origin, size and root."""
    lines, signers = open_note(note, keys)
    require(len(lines) >= 3 and all(lines), "not a checkpoint")
    origin, size, root = lines[0], int(lines[1]), decode_base64(lines[2])
    require(str(size) == lines[1] and 0 <= size < 2**64 and len(root) == 32, "not a checkpoint")
    require(size or root == sha256().digest(), "not the root of an empty log")
    require(origin in {name for name, _ in signers}, f"the key of another log signed for {quote(origin)}")
    print(f"proved: {quote(origin)} signed {size} entries, root {base64.b64encode(root).decode()}")
    return origin, size, root


# Entries: docs/audit/log.md, "The leaf".

LEAF = (
    *("version", "event_id", "time", "actor", "actor_kind", "action", "target", "outcome"),
    *("reason", "request_id", "node", "peer", "nonce", "details"),
)
UNPROVED = {"id", "actor_description", "place"}
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def parse_line(line: bytes) -> dict[str, Any]:
    """Read an object in the one spelling that yoq-web writes: no member is there twice, no number is written anew."""
    found = json.loads(line.decode())
    require(type(found) is dict and dump(found).encode() == line.removesuffix(b"\n"), "not JSON as yoq-web spells it")
    return dict(found)


def make_leaf(entry: dict[str, Any]) -> bytes:
    wrong = set(entry) - UNPROVED ^ {*LEAF, "recorded_at"}
    require(not wrong, f"members too few or too many, or an entry of a newer version: {quote(sorted(wrong))}")
    require(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", entry["time"], re.ASCII), "not a time")
    time = (datetime.strptime(entry["time"], "%Y-%m-%dT%H:%M:%S.%f%z") - EPOCH) // timedelta(microseconds=1)
    require(dump(entry["recorded_at"]) == str(time // 1_000_000), "recorded_at and time are not the same moment")
    leaf = {name: entry[name] for name in LEAF}
    leaf["time"] = time
    if len(dump(leaf).encode()) > 65535:
        leaf["details_sha256"] = sha256(dump(leaf.pop("details")).encode()).hexdigest()
    return dump(leaf).encode()


# What can be verified.


def verify_key(keys: Keys, announcements: BinaryIO | None = None) -> None:
    """GET /v1/audit/log/key/announcements: notes in which each key and the one after it signed that it follows."""
    followed: dict[Name, Name] = {}
    for note in json.loads(announcements.read()) if announcements else []:
        name, heading, *pair = note.partition("\n\n")[0].split("\n")
        own: Keys = {}
        old, new = [add_key(own, vkey) for vkey in pair]
        if keys.get(old) == own[old]:
            require(open_note(note.encode(), own)[1] == {old, new}, f"not both keys signed that {pair[1]} follows")
            require(heading == "key rotation" and name == old[0] == new[0], "not the announcement of a key")
            require(followed.setdefault(old, new) == new, f"two keys claim to follow {pair[0]}")
            add_key(keys, pair[1])
    for (name, key_id), key in keys.items():
        vkey = f"{name}+{key_id}+{base64.b64encode(bytes([1]) + key).decode()}"
        print("proved, a key of the log:", vkey.encode("ascii", "backslashreplace").decode())


def verify_consistency(keys: Keys, older: BinaryIO, newer: BinaryIO, proof: BinaryIO | None = None) -> None:
    """GET /v1/audit/log/consistency?from=OLD&to=NEW; from size 0 and between equal sizes there is nothing in it."""
    origin, old, old_root = verify_checkpoint(keys, older.read())
    other, new, new_root = verify_checkpoint(keys, newer.read())
    require(origin == other and old <= new, "NEW is of another log, or older than OLD")
    require(proof or old in (0, new), f"PROOF is missing: consistency?from={old}&to={new}")
    given: dict[str, Any] = json.loads(proof.read()) if proof else {"from": old, "to": new, "hashes": []}
    path = [decode_base64(text) for text in given["hashes"]]
    require((given["from"], given["to"]) == (old, new) and (old or not path), "PROOF is between other sizes")
    roots = fold_growth(old, new, path, old_root) if old else (old_root, new_root)
    require(roots == (old_root, new_root), "the log of OLD is NOT the beginning of that of NEW: keep these files")
    print(f"proved: the log of {old} entries is the beginning of that of {new}")


def verify_entry(keys: Keys, proof: BinaryIO, document: BinaryIO) -> None:
    """C2SP tlog-proof."""
    head, _, note = proof.read().partition(b"\n\n")
    first, *lines = head.decode().split("\n")
    if lines[0].startswith("extra "):
        require(decode_base64(lines.pop(0)[6:]), "extra data without data")
    index = int(lines[0][6:])
    require((first, lines[0]) == ("c2sp.org/tlog-proof@v1", f"index {index}"), "not a tlog-proof")
    _, size, root = verify_checkpoint(keys, note)
    require(0 <= index < size, "the log was shorter")
    entry = parse_line(document.read())
    leaf = make_leaf(entry)
    found = fold_path(index, size, hash_leaf(leaf), [decode_base64(line) for line in lines[1:]])
    require(found == root, "the entry is not the one that was sealed, or the proof is another's")
    told = (quote(entry[name]) for name in ("actor", "action", "target", "outcome", "event_id"))
    print(f"proved: entry {index} of them is {entry['time']}", *told)
    if unproved := sorted(UNPROVED & set(entry)):
        print("not covered by the proof:", *unproved)


def verify_export(keys: Keys, file: BinaryIO) -> None:
    """docs/trail/export.md: a header, then of each tile a proof and its entries, then the end."""
    seen, count, following, missing = sha256(), 0, 0, []

    def read_lines() -> Iterator[dict[str, Any]]:
        while True:
            line = file.readline(2**24)
            require(line[-1:] == b"\n", "the file is cut off, or a line is too long")
            yield parse_line(line)
            seen.update(line)

    lines = read_lines()
    header = next(lines)
    known = set(header) == {"yoq_audit_export", "filters", "checkpoint"} and header["yoq_audit_export"] == 1
    require(known and type(header["filters"]) is dict, "not an export with proofs, or of a newer version")
    _, size, root = verify_checkpoint(keys, header["checkpoint"].encode())
    print(f"nothing proves the filters, which are {quote(header['filters'])}")
    while "end" not in (found := next(lines)):
        require(set(found) == {"proof"} and set(found["proof"]) == {"places", "hashes"}, f"no proof at {following}")
        places: list[int] = []
        for first, last in found["proof"]["places"]:
            good = type(first) is type(last) is int and following <= first <= last < min(first + 256, size)
            require(good, f"no places: {quote([first, last])}")
            missing += [f"{following}-{first - 1}"] if following < first else []
            places += range(first, last + 1)
            following = last + 1
        given = iter(cut_hashes(decode_base64(found["proof"]["hashes"])))
        leaves: list[bytes] = []
        proved = 0 < len(places) <= 256 and fold_places(places, 0, size, given, leaves) == root and not list(given)
        require(proved, f"what should prove the entries before {following} does not lead to the root")
        for place, leaf in zip(places, leaves):
            entry = next(lines)
            good = not UNPROVED & set(entry) and hash_leaf(make_leaf(entry)) == leaf
            require(good, f"entry {place} is not there as it was sealed")
        count += len(places)
    end = {"end": {"entries": count, "sha256": seen.hexdigest()}}
    require(found == end and not file.read(1), "the end does not fit what is before it, or is not the end")
    missing += [f"{following}-{size - 1}"] if following < size else []
    print(f"proved: {count} of the entries are in the file; not in it:", *(missing[:1000] or ["none"]))


def check_erasure(keys: Keys, said: dict[str, Any]) -> int:
    """Return the place of an erased entry, which its signed announcement names."""
    details = json.loads(said["details"])
    places = [details[name] for name in ("started_index", "index") if name in details]
    good = re.fullmatch("[0-9A-Za-z-]{1,64}", said["event_id"]) and "\n" not in details["signature"]
    require(good and all(type(at) is int for at in [*places, said["index"]]), "not the announcement of an erasure")
    require(said["index"] in places, "the announcement of another erasure")
    text = ["yoq-web: erased from this log", f"event {said['event_id']}", *(f"place {at}" for at in places)]
    open_note("\n".join([*text, "", f"{details['signature']}\n"]).encode(), keys)
    return int(said["index"])


def read_members(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    require(not file.read(40).startswith((b"age-", b"-----BEGIN")), "it is encrypted: decrypt it first, as by age -d")
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r|*") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.size <= 256 * 65537 else None
            if not member.isreg() or content is None:
                raise NotProved(f"{quote(member.name)} is nothing that an archive has")
            yield member.name, content.read()


def name_tile(level: int | str, index: int) -> str:
    """Return the path of C2SP tlog-tiles: groups of three digits, all but the last behind an x."""
    *groups, last = f"{index:,}".split(",")
    return f"tile/{level}/" + "".join(f"x{group:0>3}/" for group in groups) + f"{last:0>3}"


def cut_bundle(data: bytes) -> list[bytes]:
    """Return the leaves of a bundle, each of which stands behind its length."""
    leaves: list[bytes] = []
    at = 0
    while at < len(data):
        start, at = at + 2, at + 2 + int.from_bytes(data[at : at + 2], "big")
        leaves.append(data[start:at])
    require(at == len(data), "a bundle is cut off")
    return leaves


def join(upper: Sequence[bytes], edge: Sequence[bytes]) -> bytes:
    """Return the root over the hashes of complete subtrees of one size, and of the fewer leaves behind them."""
    if not upper or not edge:
        return compute_root(upper or edge)
    part = 1 << len(upper).bit_length() - 1
    return hash_node(compute_root(upper[:part]), join(upper[part:], edge))


def verify_archive(keys: Keys, file: BinaryIO) -> None:
    """docs/trail/retention.md: a description, the checkpoint, the upper tiles, then each bundle behind its tile."""
    members = read_members(file)

    def take(wanted: str, long: dict[str, bytes] | None = None) -> bytes:
        """Return the next file of the archive; before some stand details that are too long for a leaf."""
        name, content = next(members, ("nothing", b""))
        while long is not None and len(long) < 256 and name.startswith("details/") and name not in long:
            long[name] = content
            name, content = next(members, ("nothing", b""))
        require(name == wanted, f"{quote(name)} is where {wanted} must be")
        return content

    said = json.loads(take("archive.json"))
    _, size, root = verify_checkpoint(keys, take("checkpoint"))
    first, end, count = said["first"], said["end"], 0
    require(type(first) is type(end) is int and said["version"] == 1, "not an archive, or of a newer version")
    require(0 <= first < end <= size and first % 256 == end % 256 == 0, "not whole bundles of what was signed")
    erased = {check_erasure(keys, one) for one in said["erased"]}
    levels = []
    for level in range(8):
        full, width = divmod(size >> 8 * level, 256)
        names = [name_tile(level, index) for index in range(full)] if level else []
        names += [f"{name_tile(level, full)}.p/{width}"] if width else []
        levels.append(cut_hashes(b"".join(map(take, names))))
        require(len(levels[level]) == (size >> 8 * level if level else width), "a tile is too short or too long")
    for lower, upper in zip(levels[1:], levels[2:]):
        roots = [compute_root(lower[at : at + 256]) for at in range(0, 256 * len(upper), 256)]
        require(upper == roots, "a tile is not that of the tree that was signed")
    require(join(levels[1], levels[0]) == root, "the tiles are not those of the tree that was signed")
    for index in range(first // 256, end // 256):
        long: dict[str, bytes] = {}
        hashes = cut_hashes(take(name_tile(0, index), long))
        leaves = cut_bundle(take(name_tile("entries", index)))
        require(compute_root(hashes) == levels[1][index], f"{name_tile(0, index)} is not what was signed")
        require(len(hashes) == len(leaves) == 256, f"{name_tile('entries', index)} does not have 256 entries")
        for place, leaf, wanted in zip(range(256 * index, 256 * index + 256), leaves, hashes):
            if leaf or place not in erased:
                require(hash_leaf(leaf) == wanted, f"entry {place} is not the one that was sealed")
                entry = json.loads(leaf)
                if "details_sha256" in entry:
                    details = long.pop(f"details/{place}.json", b"")
                    same = sha256(details).hexdigest() == entry.pop("details_sha256")
                    require(same, f"the details of entry {place} are not those that were sealed")
                    entry["details"] = json.loads(details)
                print(place, json.dumps(entry))
                count += 1
        require(not long, "details of no entry")
    require(count == said["entries"] and not next(members, None), "more or fewer entries or files than it says")
    print(f"proved: {count} entries, the places {first}-{end - 1}; erased, as a key announced: {sorted(erased)}")


COMMANDS: dict[str, tuple[Callable[..., object], int, int]] = {
    "key": (verify_key, 0, 1),
    "checkpoint": (lambda keys, file: verify_checkpoint(keys, file.read()), 1, 1),
    "consistency": (verify_consistency, 2, 3),
    "entry": (verify_entry, 2, 2),
    "export": (verify_export, 1, 1),
    "archive": (verify_archive, 1, 1),
}
"""What verifies it, and from how many to how many files it takes."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--key", action="append", required=True)
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("files", nargs="*")
    given = parser.parse_args(arguments)
    verify, least, most = COMMANDS[given.what]
    if not least <= len(given.files) <= most:
        parser.error(f"{given.what} takes from {least} to {most} files")
    keys: Keys = {}
    try:
        for text in given.key:
            for vkey in Path(text[1:]).read_text().split() if text.startswith("@") else [text]:
                add_key(keys, vkey)
        with ExitStack() as stack:
            verify(keys, *[stack.enter_context(Path(path).open("rb")) for path in given.files])
    except NotProved as error:
        print(f"NOT PROVED: {error}", file=sys.stderr)
    except Exception as error:  # noqa: BLE001 - whatever a file holds that makes no sense, it proves nothing
        print(f"NOT PROVED: malformed: {type(error).__name__}: {quote(str(error))}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())

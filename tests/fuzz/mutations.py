"""Seeded mutations of a file's bytes: bit flips, cuts, splices, blocks, boundary integers, length fields."""

import numpy as np

_BOUNDARIES = (0, 1, 2, 127, 128, 255, 256, 9_999, 10_000, 20_000, 32_767, 32_768, 65_500, 65_535, 65_536)
_BOUNDARIES += (2**24, 2**31 - 1, 2**31, 2**32 - 1)
_LONGEST_BLOCK = 512  # bytes
_MUTATIONS = (1, 1, 1, 1, 2, 2, 3, 4)  # of one file

# Values that readers of text formats have stumbled over
_WORDS = [
    word.encode()
    for word in (
        *("0", "-1", "-0", "1e400", "-5.0", "NaN", "Infinity", "1" * 400, "10000", "99999999", "null", "true", "[]"),
        *("{}", '""', '"\\u001b[31m"', '"\\ud800"', "[" * 3000, '{"a":' * 3000, "!!timestamp 99999-99-99", "~", "- a"),
        *("!!python/object/apply:os.system [id]", "!!binary x", "&a [*a, *a]", "<<: *a", "? [a]", "0x", "2024-13-45"),
        *("1:60", ".inf", "\t", "\0", "\r", "---", "%YAML 9.9", "!!set {a}", "!!omap [a]", "'", '"', ": ", "\u2028"),
    )
]


def mutate(data: bytes, donor: bytes, rng: np.random.Generator, text: bool = False) -> bytes:
    """Return the data with one to four random mutations.

    Args:
        data: content of a file.
        donor: another file of the format, from which blocks are spliced in.
        rng: decides everything.
        text: also insert words that readers of text formats have stumbled over.
    """
    mutations = _BINARY + 5 * [_insert_word, _replace_value] if text else _BINARY
    for _ in range(rng.choice(_MUTATIONS)):
        data = mutations[rng.integers(len(mutations))](data, donor, rng)
    return data


def _flip_bits(data, _, rng):
    changed = bytearray(data)
    for _ in range(rng.integers(1, 4) if data else 0):
        changed[_position(data, rng)] ^= 1 << rng.integers(8)
    return bytes(changed)


def _set_byte(data, _, rng):
    at = _position(data, rng)
    return data[:at] + bytes([rng.integers(256)]) + data[at + 1 :]


def _cut(data, _, rng):
    return data[: _position(data, rng)]


def _cut_start(data, _, rng):
    return data[_position(data, rng) :]


def _splice(data, donor, rng):
    return data[: _position(data, rng)] + donor[_position(donor, rng) :]


def _insert_block(data, donor, rng):
    at, start = _position(data, rng), _position(donor, rng)
    return data[:at] + donor[start : start + rng.integers(1, _LONGEST_BLOCK)] + data[at:]


def _repeat_block(data, _, rng):
    start = _position(data, rng)
    end = start + rng.integers(1, _LONGEST_BLOCK)
    return data[:end] + data[start:end] * rng.integers(1, 20) + data[end:]


def _remove_block(data, _, rng):
    start = _position(data, rng)
    return data[:start] + data[start + rng.integers(1, _LONGEST_BLOCK) :]


def _fill_block(data, _, rng):
    start, length = _position(data, rng), int(rng.integers(1, _LONGEST_BLOCK))
    length = min(length, len(data) - start)
    return data[:start] + bytes([rng.choice([0, 255])]) * length + data[start + length :]


def _set_integer(data, _, rng):
    """Overwrite 1, 2, 4 or 8 bytes by an integer at the boundary of some type."""
    size = int(rng.choice([1, 2, 4, 8]))
    value = _BOUNDARIES[rng.integers(len(_BOUNDARIES))] & (256**size - 1)
    at = _position(data, rng)
    return data[:at] + value.to_bytes(size, _byte_order(rng)) + data[at + size :]


def _change_length(data, _, rng):
    """Change an integer that could be a length field: a small number of 2 or 4 bytes."""
    size, order = int(rng.choice([2, 4])), _byte_order(rng)
    numbers = ((at, int.from_bytes(data[at : at + size], order)) for at in range(min(len(data), 4096) - size))
    fields = [(at, value) for at, value in numbers if 0 < value <= 2 * len(data)]
    if not fields:
        return data
    at, value = fields[rng.integers(len(fields))]
    changes = (value + 1, value - 1, 2 * value, value // 2, value + 65536, value * 1000, 0, 256**size - 1)
    changed = changes[rng.integers(len(changes))] & (256**size - 1)
    return data[:at] + changed.to_bytes(size, order) + data[at + size :]


def _insert_word(data, _, rng):
    at = _position(data, rng)
    return data[:at] + _WORDS[rng.integers(len(_WORDS))] + data[at:]


def _replace_value(data, _, rng):
    """Replace what follows a colon or a comma, up to the end of the line."""
    starts = [at + 1 for at, byte in enumerate(data) if byte in b":,"]
    if not starts:
        return data
    start = starts[rng.integers(len(starts))]
    line, newline, rest = data[start:].partition(b"\n")
    comma = b"," if line.endswith(b",") else b""
    return data[:start] + b" " + _WORDS[rng.integers(len(_WORDS))] + comma + newline + rest


def _position(data, rng):
    """Choose a position, a quarter of the time in the header."""
    return int(rng.integers(max(1, len(data) if rng.random() < 0.75 else min(len(data), 64))))


def _byte_order(rng):
    return "big" if rng.random() < 0.5 else "little"


_BINARY = [
    *(_cut, _cut_start, _splice, _insert_block, _repeat_block, _remove_block, _fill_block),
    *3 * (_flip_bits, _set_byte, _set_integer, _change_length),
]

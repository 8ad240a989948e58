"""Learning the merges of byte pair encoding from counted pieces (Sennrich et al. 2016, arXiv:1508.07909, section 3.2).

The most frequent pair of neighbours is merged again and again; of equally frequent ones that of the smaller ids. It
goes step by step as ``BpeTrainer`` of the library ``tokenizers`` does: an entry of the heap is a pair with its count
and the pieces in which it arose, and is put back with its new count if that has changed.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_BASIS, _PRIME = -3750763034362895579, 1099511628211


@numba.njit(cache=True, nogil=True)
def learn_merges(
    symbols: Any,
    starts: Any,
    counts: Any,
    token_bytes: Any,
    token_offsets: Any,
    known: int,
    size: int,
    minimum_frequency: int,
) -> Any:
    """The merges in their order: left, right and merged id, int64 [merges, 3], and the number of tokens.

    Args:
        symbols: int32: ids of the bytes of all pieces; overwritten.
        starts: int64 [pieces + 1]: where each begins.
        counts: int64 [pieces].
        token_bytes: uint8, bytes of the first tokens, one after the other.
        token_offsets: int64 [known + 1], where they begin; a token of no bytes is never made by merging.
        known: Tokens there are: special ones and single bytes.
        size: Tokens to stop at.
        minimum_frequency: Pairs that are rarer are not merged.
    """
    pieces = len(starts) - 1
    ends = starts[1:].copy()
    # Pairs by number; a table from the pair's key to its number plus 1.
    room = 1 << 16
    pair_keys = np.zeros(room, np.int64)
    pair_counts = np.zeros(room, np.int64)
    seen_in = np.full(room, -1, np.int64)
    arisen = np.zeros(room, np.int64)
    table = np.zeros(2 * room, np.int32)
    pairs = 0
    # Where each pair arises: first how often, then where.
    for piece in range(pieces):
        for place in range(starts[piece], ends[piece] - 1):
            key = (np.int64(symbols[place]) << 32) | symbols[place + 1]
            if pairs + 1 >= room:
                room, pair_keys, pair_counts, seen_in, arisen, table = _grown(
                    room, pair_keys, pair_counts, seen_in, arisen, pairs
                )
            number = _find(table, pair_keys, key, pairs)
            pairs = max(pairs, number + 1)
            pair_counts[number] += counts[piece]
            if seen_in[number] != piece:
                seen_in[number] = piece
                arisen[number] += 1
    place_of = np.zeros(pairs + 1, np.int64)
    for number in range(pairs):
        place_of[number + 1] = place_of[number] + arisen[number]
    positions = np.empty(max(16, 2 * place_of[pairs]), np.int32)
    filled = place_of[:pairs].copy()
    seen_in[:] = -1
    for piece in range(pieces):
        for place in range(starts[piece], ends[piece] - 1):
            key = (np.int64(symbols[place]) << 32) | symbols[place + 1]
            number = _find(table, pair_keys, key, pairs)
            if seen_in[number] != piece:
                seen_in[number] = piece
                positions[filled[number]] = piece
                filled[number] += 1
    used = place_of[pairs]
    # The heap: count, pair, where its pieces are listed, how many.
    heap = np.zeros((max(16, 2 * pairs), 4), np.int64)
    length = 0
    for number in range(pairs):
        if pair_counts[number] > 0:
            length = _push(heap, length, pair_keys, pair_counts[number], number, place_of[number], arisen[number])
    # Tokens by their bytes.
    most = size + 1
    offsets = np.zeros(most + 1, np.int64)
    offsets[: known + 1] = token_offsets
    content = np.zeros(max(1 << 16, 2 * len(token_bytes)), np.uint8)
    content[: len(token_bytes)] = token_bytes
    names = np.zeros(1 << max(4, int(np.ceil(np.log2(4 * most)))), np.int64)
    tokens = 0
    for token in range(known):
        if offsets[token + 1] > offsets[token]:
            _name(names, content, offsets, offsets[token], offsets[token + 1], token)
    tokens = known
    merges = np.zeros((max(16, 2 * size), 3), np.int64)
    merged = 0
    step = np.int64(pieces)
    touched = np.zeros(1 << 10, np.int64)
    new_pairs = np.zeros(1 << 12, np.int64)
    new_pieces = np.zeros(1 << 12, np.int32)
    while tokens < size and length > 0:
        count, number, listed, many = heap[0, 0], heap[0, 1], heap[0, 2], heap[0, 3]
        length = _pop(heap, length, pair_keys)
        if count != pair_counts[number]:
            length = _push(heap, length, pair_keys, pair_counts[number], number, listed, many)
            continue
        if count < 1 or count < minimum_frequency:
            break
        left, right = pair_keys[number] >> 32, pair_keys[number] & 0xFFFFFFFF
        # The bytes of both, as a token that may be there already.
        start = offsets[tokens]
        both = offsets[left + 1] - offsets[left] + offsets[right + 1] - offsets[right]
        if start + both > len(content):
            more = np.zeros(2 * (start + both), np.uint8)
            more[:start] = content[:start]
            content = more
        end = start
        for byte in range(offsets[left], offsets[left + 1]):
            content[end] = content[byte]
            end += 1
        for byte in range(offsets[right], offsets[right + 1]):
            content[end] = content[byte]
            end += 1
        token = _name(names, content, offsets, start, end, tokens)
        if token == tokens:
            offsets[tokens + 1] = end
            tokens += 1
        if merged == len(merges):
            larger = np.zeros((2 * merged, 3), np.int64)
            larger[:merged] = merges
            merges = larger
        merges[merged, 0], merges[merged, 1], merges[merged, 2] = left, right, token
        merged += 1
        # Merge it in the pieces where it arose; note the pairs that arise.
        noted = 0
        for entry in range(listed, listed + many):
            piece = positions[entry]
            step += 1
            written = starts[piece]
            place = starts[piece]
            stop = ends[piece]
            while place < stop:
                if place + 1 < stop and symbols[place] == left and symbols[place + 1] == right:
                    while pairs + 4 >= room:
                        room, pair_keys, pair_counts, seen_in, arisen, table = _grown(
                            room, pair_keys, pair_counts, seen_in, arisen, pairs
                        )
                    if noted + 2 > len(new_pairs):
                        wider = np.zeros(2 * len(new_pairs), np.int64)
                        wider[:noted] = new_pairs[:noted]
                        new_pairs = wider
                        wider_pieces = np.zeros(2 * len(new_pieces), np.int32)
                        wider_pieces[:noted] = new_pieces[:noted]
                        new_pieces = wider_pieces
                    if written > starts[piece]:
                        before = np.int64(symbols[written - 1])
                        old = _find(table, pair_keys, (before << 32) | left, pairs)
                        pairs = max(pairs, old + 1)
                        pair_counts[old] -= counts[piece]
                        new = _find(table, pair_keys, (before << 32) | token, pairs)
                        pairs = max(pairs, new + 1)
                        pair_counts[new] += counts[piece]
                        if seen_in[new] != step:
                            seen_in[new] = step
                            new_pairs[noted], new_pieces[noted] = new, piece
                            noted += 1
                    if place + 2 < stop:
                        after = np.int64(symbols[place + 2])
                        old = _find(table, pair_keys, (right << 32) | after, pairs)
                        pairs = max(pairs, old + 1)
                        pair_counts[old] -= counts[piece]
                        new = _find(table, pair_keys, (token << 32) | after, pairs)
                        pairs = max(pairs, new + 1)
                        pair_counts[new] += counts[piece]
                        if seen_in[new] != step:
                            seen_in[new] = step
                            new_pairs[noted], new_pieces[noted] = new, piece
                            noted += 1
                    symbols[written] = token
                    place += 2
                else:
                    symbols[written] = symbols[place]
                    place += 1
                written += 1
            ends[piece] = written
        # Group the pieces by pair, and put the pairs on the heap.
        distinct = 0
        for entry in range(noted):
            new = new_pairs[entry]
            if arisen[new] >= 0:
                arisen[new] = -1
                if distinct == len(touched):
                    longer = np.zeros(2 * distinct, np.int64)
                    longer[:distinct] = touched
                    touched = longer
                touched[distinct] = new
                distinct += 1
            else:
                arisen[new] -= 1
        if used + noted > len(positions):
            longer_positions = np.empty(2 * (used + noted), np.int32)
            longer_positions[:used] = positions[:used]
            positions = longer_positions
        for entry in range(distinct):
            new = touched[entry]
            many = -arisen[new]
            if pair_counts[new] > 0:
                if length + 1 >= len(heap):
                    taller = np.zeros((2 * len(heap), 4), np.int64)
                    taller[:length] = heap[:length]
                    heap = taller
                length = _push(heap, length, pair_keys, pair_counts[new], new, used, many)
            # From here on where its next piece is written.
            arisen[new] = used
            used += many
        for entry in range(noted):
            new = new_pairs[entry]
            positions[arisen[new]] = new_pieces[entry]
            arisen[new] += 1
        for entry in range(distinct):
            arisen[touched[entry]] = 0
    return merges[:merged], tokens


@numba.njit(cache=True, nogil=True)
def _find(table: Any, pair_keys: Any, key: int, pairs: int) -> Any:
    """The number of a pair, a new one if it has none."""
    mask = len(table) - 1
    mixed = key * -7046029254386353131
    slot = (mixed ^ (mixed >> 32)) & mask
    while table[slot]:
        if pair_keys[table[slot] - 1] == key:
            return table[slot] - 1
        slot = (slot + 1) & mask
    table[slot] = pairs + 1
    pair_keys[pairs] = key
    return pairs


@numba.njit(cache=True, nogil=True)
def _grown(room: int, pair_keys: Any, pair_counts: Any, seen_in: Any, arisen: Any, pairs: int) -> Any:
    """Twice the room for pairs."""
    more = 2 * room
    keys = np.zeros(more, np.int64)
    keys[:room] = pair_keys
    larger_counts = np.zeros(more, np.int64)
    larger_counts[:room] = pair_counts
    seen = np.full(more, -1, np.int64)
    seen[:room] = seen_in
    more_arisen = np.zeros(more, np.int64)
    more_arisen[:room] = arisen
    table = np.zeros(2 * more, np.int32)
    for number in range(pairs):
        _place(table, keys[number], number)
    return more, keys, larger_counts, seen, more_arisen, table


@numba.njit(cache=True, nogil=True)
def _place(table: Any, key: int, number: int) -> None:
    mask = len(table) - 1
    mixed = key * -7046029254386353131
    slot = (mixed ^ (mixed >> 32)) & mask
    while table[slot]:
        slot = (slot + 1) & mask
    table[slot] = number + 1


@numba.njit(cache=True, nogil=True)
def _name(names: Any, content: Any, offsets: Any, start: int, end: int, token: int) -> Any:
    """The token that has these bytes, or else ``token``, which gets them."""
    mixed = np.int64(_BASIS)
    for byte in range(start, end):
        mixed = (mixed ^ content[byte]) * _PRIME
    mask = len(names) - 1
    slot = (mixed ^ (mixed >> 29)) & mask
    while names[slot]:
        other = names[slot] - 1
        begin = offsets[other]
        if offsets[other + 1] - begin == end - start:
            same = True
            for byte in range(end - start):
                if content[begin + byte] != content[start + byte]:
                    same = False
                    break
            if same:
                return other
        slot = (slot + 1) & mask
    names[slot] = token + 1
    return token


@numba.njit(cache=True, nogil=True)
def _above(heap: Any, one: int, other: int, pair_keys: Any) -> Any:
    """Whether an entry comes before another: more frequent, or as frequent and of smaller ids."""
    if heap[one, 0] != heap[other, 0]:
        return heap[one, 0] > heap[other, 0]
    return pair_keys[heap[one, 1]] < pair_keys[heap[other, 1]]


@numba.njit(cache=True, nogil=True)
def _push(heap: Any, length: int, pair_keys: Any, count: int, number: int, listed: int, many: int) -> Any:
    heap[length, 0], heap[length, 1], heap[length, 2], heap[length, 3] = count, number, listed, many
    child = length
    while child > 0:
        parent = (child - 1) // 2
        if not _above(heap, child, parent, pair_keys):
            break
        _swap(heap, child, parent)
        child = parent
    return length + 1


@numba.njit(cache=True, nogil=True)
def _pop(heap: Any, length: int, pair_keys: Any) -> Any:
    length -= 1
    _swap(heap, 0, length)
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= length:
            return length
        if child + 1 < length and _above(heap, child + 1, child, pair_keys):
            child += 1
        if not _above(heap, child, parent, pair_keys):
            return length
        _swap(heap, parent, child)
        parent = child


@numba.njit(cache=True, nogil=True)
def _swap(heap: Any, one: int, other: int) -> None:
    for column in range(4):
        heap[one, column], heap[other, column] = heap[other, column], heap[one, column]

//! What the standard library's collections take beside what is in them, in constant time: operators are asked for
//! their bytes a thousand times a second, and may keep a list for each of a million keys. And large lists that grow by
//! less than doubling, so that what they hold ready stays a small part of what they hold.
//!
//! **Invariant.** Estimates that `tests/tests/memory.rs` holds against an allocator that counts: within a tenth of what
//! an operator allocates.

/// Bytes of `lists` lists (`Vec`) that hold `items` values together: a list starts with room for four, then doubles.
pub(crate) fn lists_bytes<T>(lists: usize, items: usize) -> usize {
    let grown = items.saturating_add(items / 2);
    lists.saturating_mul(4).max(grown) * size_of::<T>()
}

/// From here on a list grows by an eighth.
const LARGE_LIST_BYTES: usize = 1 << 16;

/// Makes room for `more` values behind those of `list`, and some to spare.
pub(crate) fn make_room<T>(list: &mut Vec<T>, more: usize) {
    let len = list.len() + more;
    if len > list.capacity() {
        let spare = match len * size_of::<T>() > LARGE_LIST_BYTES {
            true => len / 8,
            false => len,
        };
        list.reserve_exact(more + spare);
    }
}

/// Makes `list` `len` long, with room for more.
pub(crate) fn resize_list<T: Clone>(list: &mut Vec<T>, len: usize, value: T) {
    make_room(list, len.saturating_sub(list.len()));
    list.resize(len, value);
}

/// Bytes of a `BTreeMap` of `entries` keys that came in rising order, as event times do: each node of eleven places
/// is left behind with six of them taken.
pub(crate) fn tree_bytes<K, V>(entries: usize) -> usize {
    const PLACES: usize = 11;
    const TAKEN: usize = 6;
    const NODE_BYTES: usize = 16;
    const CHILDREN_BYTES: usize = (PLACES + 1) * size_of::<usize>();
    let leaf = PLACES * (size_of::<K>() + size_of::<V>()) + NODE_BYTES;
    let leaves = entries.div_ceil(TAKEN);
    leaves * leaf + leaves.div_ceil(TAKEN) * (leaf + CHILDREN_BYTES)
}

//! The RFC 6962 tree: its growing edge, and the checks of the two proofs. Nothing here reads a database.

use crate::digest::{Digest, sha256_of};

/// How many hashes one tile holds (C2SP tlog-tiles).
pub(crate) const TILE_WIDTH: usize = 256;
/// The tile width's exponent.
pub(crate) const TILE_HEIGHT: u32 = 8;
/// Tile levels that a tree of 2⁶⁴ leaves would need.
pub(crate) const TILE_LEVELS: usize = 8;

/// An inner node: SHA-256(0x01 ‖ left ‖ right) (RFC 6962, section 2.1).
pub(crate) fn node(left: &Digest, right: &Digest) -> Digest {
    let mut data = [1; 65];
    data[1..33].copy_from_slice(left);
    data[33..].copy_from_slice(right);
    sha256_of(&data)
}

/// The root of the empty tree: the hash of nothing.
pub fn empty_root() -> Digest {
    sha256_of(&[])
}

/// The root of a complete subtree, from its `2^k` hashes of one level. Nothing for no hashes.
pub(crate) fn complete_root(hashes: &[Digest]) -> Option<Digest> {
    let mut level = hashes.to_vec();
    let mut count = level.len();
    while count > 1 {
        count /= 2;
        for position in 0..count {
            level[position] = node(&level[2 * position], &level[2 * position + 1]);
        }
    }
    level.first().copied()
}

/// A tile that became full: 256 neighbouring hashes of one level, and the root of the subtree above them.
#[derive(Clone, Debug)]
pub(crate) struct FullTile {
    pub(crate) level: usize,
    pub(crate) index: u64,
    pub(crate) hashes: Vec<Digest>,
    pub(crate) root: Digest,
}

/// The right edge of the tree: for each level, the hashes since its last full tile. At most 255 a level.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frontier {
    levels: [Vec<Digest>; TILE_LEVELS],
    size: u64,
}

impl Frontier {
    /// The edge of a tree of `size` leaves from its unfinished tiles, lowest level first.
    pub(crate) fn from_parts(size: u64, levels: [Vec<Digest>; TILE_LEVELS]) -> Self {
        Self { levels, size }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf hash. `full` is called with each tile that this leaf fills, lowest level first.
    pub(crate) fn push(&mut self, leaf: Digest, mut full: impl FnMut(FullTile)) {
        self.size += 1;
        let mut carried = leaf;
        for level in 0..TILE_LEVELS {
            let Some(hashes) = self.levels.get_mut(level) else { return };
            hashes.push(carried);
            if hashes.len() < TILE_WIDTH {
                return;
            }
            let hashes = std::mem::replace(hashes, Vec::with_capacity(TILE_WIDTH));
            let Some(root) = complete_root(&hashes) else { return };
            #[expect(clippy::cast_possible_truncation, reason = "below eight")]
            let index = (self.size >> (TILE_HEIGHT * (level as u32 + 1))) - 1;
            full(FullTile { level, index, hashes, root });
            carried = root;
        }
    }

    /// The root of the tree.
    pub(crate) fn root(&self) -> Digest {
        let mut root: Option<Digest> = None;
        for hashes in &self.levels {
            let mut end = hashes.len();
            while end > 0 {
                // The rightmost complete subtree is as wide as the lowest set bit of what is left.
                let width = 1 << end.trailing_zeros();
                if let Some(subtree) = complete_root(&hashes[end - width..end]) {
                    root = Some(root.map_or(subtree, |right| node(&subtree, &right)));
                }
                end -= width;
            }
        }
        root.unwrap_or_else(empty_root)
    }
}

/// Whether `hashes` shows that `leaf` is leaf number `index` of the tree of `size` leaves with `root`.
///
/// RFC 9162, section 2.1.3.2.
pub fn verify_inclusion(leaf: &Digest, index: u64, size: u64, hashes: &[Digest], root: &Digest) -> bool {
    if index >= size {
        return false;
    }
    let (mut first, mut second) = (index, size - 1);
    let mut result = *leaf;
    for hash in hashes {
        if second == 0 {
            return false;
        }
        if first & 1 == 1 || first == second {
            result = node(hash, &result);
            while first & 1 == 0 && first != 0 {
                first >>= 1;
                second >>= 1;
            }
        } else {
            result = node(&result, hash);
        }
        first >>= 1;
        second >>= 1;
    }
    second == 0 && result == *root
}

/// Whether `hashes` shows that the tree of `old` leaves with `old_root` begins the tree of `new` leaves with `new_root`.
///
/// RFC 9162, section 2.1.4.2. The empty tree begins every tree, with an empty proof.
pub fn verify_consistency(
    old: u64,
    old_root: &Digest,
    new: u64,
    new_root: &Digest,
    hashes: &[Digest],
) -> bool {
    if old > new {
        return false;
    }
    if old == new {
        return hashes.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return hashes.is_empty() && *old_root == empty_root();
    }
    let (start, rest) = match hashes.split_first() {
        _ if old.is_power_of_two() => (old_root, hashes),
        Some((start, rest)) => (start, rest),
        None => return false,
    };
    let (mut first, mut second) = (old - 1, new - 1);
    while first & 1 == 1 {
        first >>= 1;
        second >>= 1;
    }
    let (mut of_old, mut of_new) = (*start, *start);
    for hash in rest {
        if second == 0 {
            return false;
        }
        if first & 1 == 1 || first == second {
            of_old = node(hash, &of_old);
            of_new = node(hash, &of_new);
            while first & 1 == 0 && first != 0 {
                first >>= 1;
                second >>= 1;
            }
        } else {
            of_new = node(&of_new, hash);
        }
        first >>= 1;
        second >>= 1;
    }
    second == 0 && of_old == *old_root && of_new == *new_root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256;

    /// RFC 6962, section 2.1, word for word.
    fn naive_root(leaves: &[Digest]) -> Digest {
        match leaves.len() {
            0 => sha256(&[]),
            1 => leaves[0],
            n => {
                let k = n.next_power_of_two() / 2;
                sha256(&[&[1], &naive_root(&leaves[..k]), &naive_root(&leaves[k..])])
            }
        }
    }

    fn leaf(number: u32) -> Digest {
        sha256(&[&[0], &number.to_be_bytes()])
    }

    #[test]
    fn the_growing_edge_has_the_root_of_the_definition_at_every_size() {
        let mut frontier = Frontier::default();
        let mut leaves = Vec::new();
        assert_eq!(frontier.root(), naive_root(&[]));
        for number in 0..1100 {
            frontier.push(leaf(number), |tile| assert_eq!(tile.root, naive_root(&tile.hashes)));
            leaves.push(leaf(number));
            if number < 300 || number % 37 == 0 || number > 1020 {
                assert_eq!(frontier.root(), naive_root(&leaves), "size {}", number + 1);
            }
        }
    }

    #[test]
    fn a_tile_is_given_out_when_its_last_leaf_arrives() {
        let mut frontier = Frontier::default();
        let mut tiles = Vec::new();
        for number in 0..65_536 {
            frontier.push(leaf(number), |tile| tiles.push((tile.level, tile.index)));
        }
        assert_eq!(tiles.len(), 257);
        assert_eq!(tiles.first(), Some(&(0, 0)));
        assert_eq!(tiles.get(255), Some(&(0, 255)));
        assert_eq!(tiles.last(), Some(&(1, 0)));
    }
}

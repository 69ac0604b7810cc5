//! Which versions of tables and keys a release works with.

/// Versions of one thousand differ by what the release before can work with: by tables, columns with a
/// default, indexes. What it cannot work with is the first version of the next thousand.
const COMPATIBLE_VERSIONS: u64 = 1_000;

/// Returns whether what is found in a store is of a release that this one cannot work beside.
pub(super) fn is_incompatible(found: u64, known: u64) -> bool {
    found / COMPATIBLE_VERSIONS > known / COMPATIBLE_VERSIONS
}

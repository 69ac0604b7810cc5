//! Which versions of tables and keys a release works with.

/// Within one thousand, every release that knows a version of it may write to the tables of any other: a later
/// version only adds what is right without having been written, as `guide::upgrade` says. Anything else is the
/// first version of the next thousand.
const COMPATIBLE_VERSIONS: u64 = 1_000;

/// Returns whether what is found in a store is of a release that this one cannot work beside.
pub(super) fn is_incompatible(found: u64, known: u64) -> bool {
    found / COMPATIBLE_VERSIONS > known / COMPATIBLE_VERSIONS
}

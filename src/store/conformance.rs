//! The suite that a store of one's own is run against.

//! An index, with which a long ACL is checked as fast as a short one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::token::acl::{AclEntry, Permission};

/// Finds the entries that grant a permission, in a time that does not grow with the ACL.
pub(super) struct Index {
    all: Vec<usize>,
    exactly: HashMap<Arc<str>, Vec<usize>>,
    starts_with: HashMap<Arc<str>, Vec<usize>>,
    /// The lengths of the prefixes that are looked up.
    lengths: Vec<usize>,
}

impl Index {
    pub(super) fn new(entries: &[AclEntry]) -> Self {
        let mut index = Self {
            all: Vec::new(),
            exactly: HashMap::new(),
            starts_with: HashMap::new(),
            lengths: Vec::new(),
        };
        for (number, entry) in entries.iter().enumerate() {
            for permission in entry.permissions.iter() {
                let numbers = match permission {
                    Permission::All => &mut index.all,
                    Permission::Exactly(id) => index.exactly.entry(Arc::clone(id)).or_default(),
                    Permission::StartsWith(prefix) => {
                        index.lengths.push(prefix.len());
                        index.starts_with.entry(Arc::clone(prefix)).or_default()
                    }
                };
                numbers.push(number);
            }
        }
        index.lengths.sort_unstable();
        index.lengths.dedup();
        index
    }

    /// Returns the indices of the entries, possibly with duplicates.
    pub(super) fn granting<'a>(&'a self, permission: &'a str) -> impl Iterator<Item = usize> + 'a {
        let exactly = self.exactly.get(permission).into_iter();
        let beginnings = self.lengths.iter().filter_map(|length| permission.get(..*length));
        let starting = beginnings.filter_map(|beginning| self.starts_with.get(beginning));
        self.all.iter().chain(exactly.chain(starting).flatten()).copied()
    }
}

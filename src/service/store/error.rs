//! Why a store did not do as it was told.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

type BoxError = Box<dyn StdError + Send + Sync>;

/// The error of a store.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The record already exists, has another version, or is gone.
    Conflict,
    /// The engine is unreachable, too slow, or returned an error.
    Unavailable(BoxError),
    /// The record exists but cannot be read.
    Corrupt(BoxError),
}

impl StoreError {
    /// Creates an error of an engine that is unreachable, with its source.
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self::Unavailable(source.into())
    }

    /// Creates an error of a record that cannot be read, with its source.
    pub fn corrupt(source: impl Into<BoxError>) -> Self {
        Self::Corrupt(source.into())
    }

    /// For each of those who waited for one answer: the same kind, with the error as its source.
    pub(super) fn shared(self: &Arc<Self>) -> Self {
        match **self {
            Self::Conflict => Self::Conflict,
            Self::Unavailable(_) => Self::unavailable(Arc::clone(self)),
            Self::Corrupt(_) => Self::corrupt(Arc::clone(self)),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conflict => "the record has changed, is there already, or is gone",
            Self::Unavailable(_) => "the store is out of reach",
            Self::Corrupt(_) => "a stored record cannot be read",
        })
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Conflict => None,
            Self::Unavailable(source) | Self::Corrupt(source) => Some(&**source),
        }
    }
}

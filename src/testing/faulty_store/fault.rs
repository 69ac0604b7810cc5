use std::future::pending;

use crate::service::store::StoreError;

/// A fault of a call to a [`FaultyStore`](super::FaultyStore).
///
/// A message stands for that of a database driver: it is the source of the [`StoreError`], so that a
/// test can check that no client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFault(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Unavailable(String),
    Conflict,
    Corrupt(String),
    LostReply(String),
    Hang,
    Panic(String),
}

impl StoreFault {
    /// Returns [`StoreError::Unavailable`], and does not call the wrapped store.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self(Kind::Unavailable(message.into()))
    }

    /// Returns [`StoreError::Conflict`], and does not call the wrapped store.
    #[must_use]
    pub fn conflict() -> Self {
        Self(Kind::Conflict)
    }

    /// Returns [`StoreError::Corrupt`], and does not call the wrapped store.
    #[must_use]
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self(Kind::Corrupt(message.into()))
    }

    /// Carries the call out, and returns [`StoreError::Unavailable`] in place of its result.
    #[must_use]
    pub fn lost_reply(message: impl Into<String>) -> Self {
        Self(Kind::LostReply(message.into()))
    }

    /// Panics, and does not call the wrapped store.
    #[must_use]
    pub fn panic(message: impl Into<String>) -> Self {
        Self(Kind::Panic(message.into()))
    }

    /// Never returns, and does not call the wrapped store. To let a call go on after all, use
    /// [`FaultyStore::hold`](super::FaultyStore::hold).
    #[must_use]
    pub fn hang() -> Self {
        Self(Kind::Hang)
    }

    pub(super) async fn apply<T>(
        self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.0 {
            Kind::Unavailable(message) => Err(StoreError::unavailable(message)),
            Kind::Conflict => Err(StoreError::Conflict),
            Kind::Corrupt(message) => Err(StoreError::corrupt(message)),
            Kind::Panic(message) => panic!("{message}"),
            Kind::LostReply(message) => {
                drop(call.await);
                Err(StoreError::unavailable(message))
            }
            Kind::Hang => pending().await,
        }
    }
}

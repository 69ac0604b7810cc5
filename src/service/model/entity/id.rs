//! The id of a registered principal.

use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::service::model::name::folded_digest;
use crate::token::claims::SubjectType;
use crate::token::text;

/// The id of a registered principal: its kind and its name. A user and a machine client may have the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityId {
    subject_type: SubjectType,
    name: String,
}

impl EntityId {
    /// The maximum length of a name, in bytes.
    pub const MAX_LEN: usize = text::MAX_LEN;

    /// Creates the id of a principal: its kind and its name. The name is taken exactly as written: no trimming, no folding
    /// of case, no normalisation.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if the name is blank, longer than 256 bytes, or contains control characters.
    pub fn new(subject_type: SubjectType, name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if text::is_text(&name, Self::MAX_LEN) {
            Ok(Self { subject_type, name })
        } else {
            let problem = format!("a name {}", text::RULE);
            Err(Error::new(ErrorKind::InvalidRequest, problem))
        }
    }

    /// Creates the id of a user from the user's name.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn user(name: impl Into<String>) -> Result<Self, Error> {
        Self::new(SubjectType::User, name)
    }

    /// Creates the id of a machine client.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn machine(id: impl Into<String>) -> Result<Self, Error> {
        Self::new(SubjectType::Machine, id)
    }

    /// Creates the id of a customer's credential from the name that the customer logs in with.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn customer(name: impl Into<String>) -> Result<Self, Error> {
        Self::new(SubjectType::Customer, name)
    }

    /// Returns the kind of principal.
    #[must_use]
    pub fn subject_type(&self) -> SubjectType {
        self.subject_type
    }

    /// Returns the name, or the id of a machine client.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One text for all names that look alike.
    pub(crate) fn distinct_name(&self) -> String {
        folded_digest(&self.name)
    }
}

/// `entity:aa-1`: unique across the kinds, usable as a store's key.
impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.subject_type, self.name)
    }
}

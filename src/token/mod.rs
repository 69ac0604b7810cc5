//! What an access token says: identifiers, the access-control list, and the claims.

pub(crate) mod acl;
pub(crate) mod claims;
pub(crate) mod identifier;
pub(crate) mod organization;
pub(crate) mod principal;
pub(crate) mod text;

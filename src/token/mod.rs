//! The content of an access token: identifiers, the ACL, and the claims.

pub(crate) mod acl;
pub(crate) mod claims;
pub(crate) mod identifier;
pub(crate) mod organization;
pub(crate) mod principal;
pub(crate) mod text;

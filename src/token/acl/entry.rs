use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::error::{Error, InvalidField};
use crate::token::acl::permission::Permission;
use crate::token::acl::raw::Raw;
use crate::token::acl::read::{AclFault, Faults, read_permissions, read_scope};
use crate::token::acl::{Acl, ORGANIZATION};
use crate::token::identifier::OrganizationId;

/// One entry of an ACL: permissions within a scope; see [`Acl`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclEntry {
    pub(super) scope: Scope,
    pub(super) permissions: Arc<[Permission]>,
}

impl AclEntry {
    /// Creates an entry of permissions within a scope. The scope is given as keys with their values; an empty one
    /// does not restrict.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`](crate::ErrorKind::InvalidFields) if a list is empty, or a key, value or
    /// permission is blank, too long, or contains characters that it must not have.
    pub fn new<K, V, P>(
        scope: impl IntoIterator<Item = (K, V)>,
        permissions: impl IntoIterator<Item = P>,
    ) -> Result<Self, Error>
    where
        K: Into<String>,
        V: IntoIterator,
        V::Item: Into<String>,
        P: Into<String>,
    {
        let scope = scope.into_iter();
        let scope = scope.map(|(key, values)| (Cow::Owned(key.into()), Raw::texts(values)));
        let mut faults = Faults::default();
        let scope = read_scope(&Raw::object(scope.collect()), format_args!("scope"), &mut faults);
        let permissions =
            read_permissions(&Raw::texts(permissions), format_args!("permissions"), &mut faults);
        let fields = |faults: Vec<AclFault>| {
            faults.into_iter().map(|fault| InvalidField::new(fault.path, fault.message)).collect()
        };
        faults
            .or(Self { scope, permissions: permissions.into() })
            .map_err(|faults| Error::from_invalid_fields(fields(faults)))
    }

    /// Creates an entry of permissions without a scope, which apply everywhere.
    ///
    /// ```
    /// use countersign::{Acl, AclEntry};
    ///
    /// let acl = Acl::new([AclEntry::anywhere(["GetOrders", "PostOrder"])?]);
    /// assert!(acl.allows("GetOrders", &[("organizationId", "org_1")]));
    /// # Ok::<(), countersign::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn anywhere<P: Into<String>>(
        permissions: impl IntoIterator<Item = P>,
    ) -> Result<Self, Error> {
        let nowhere_in_particular: [(String, [String; 0]); 0] = [];
        Self::new(nowhere_in_particular, permissions)
    }

    /// Returns its permissions as text, in order.
    pub fn permissions(&self) -> impl Iterator<Item = String> + '_ {
        self.permissions.iter().map(Permission::to_string)
    }

    /// Returns the keys that its scope restricts, with their values.
    pub fn scope(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.scope.0.iter().map(|(key, values)| (key.as_str(), values.as_slice()))
    }

    pub(super) fn allows(&self, permission: &str, scope: &[(&str, &str)]) -> bool {
        self.permissions.iter().any(|held| held.grants(permission)) && self.scope.contains(scope)
    }

    /// Returns whether it has the permission by name, not by a wildcard.
    pub(super) fn names(&self, permission: &str) -> bool {
        self.permissions.iter().any(|held| held.is(permission))
    }

    pub(super) fn lies_within(&self, wider: &Acl, by_name: &[&str]) -> bool {
        self.permissions.iter().all(|permission| {
            let has_to_be_named = by_name.iter().any(|name| permission.is(name));
            let is_covered = |held: &Permission| {
                if has_to_be_named { held == permission } else { held.covers(permission) }
            };
            wider.entries().iter().any(|entry| {
                entry.permissions.iter().any(is_covered) && entry.scope.covers(&self.scope)
            })
        })
    }

    /// Returns the entry as a principal holds it that is bound to an organization; `None` if the organization is
    /// outside of its scope.
    pub(super) fn within(&self, organization: &OrganizationId) -> Option<Self> {
        let id = organization.as_str().to_owned();
        let inside = Scope(Arc::new([(ORGANIZATION.to_owned(), vec![id])].into()));
        let scope = self.scope.intersect(&inside)?;
        Some(Self { scope, permissions: Arc::clone(&self.permissions) })
    }

    pub(super) fn intersect(&self, other: &Self) -> Option<Self> {
        let scope = self.scope.intersect(&other.scope)?;
        let mut permissions = Vec::new();
        for (a, b) in
            self.permissions.iter().flat_map(|a| other.permissions.iter().map(move |b| (a, b)))
        {
            // Two patterns either lie one within the other or are disjoint.
            let common = if a.covers(b) {
                b
            } else if b.covers(a) {
                a
            } else {
                continue;
            };
            if !permissions.contains(common) {
                permissions.push(common.clone());
            }
        }
        (!permissions.is_empty()).then(|| Self { scope, permissions: permissions.into() })
    }
}

/// The scope of an entry: every key must have one of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scope(pub(super) Arc<BTreeMap<String, Vec<String>>>);

impl Scope {
    pub(super) fn contains(&self, request: &[(&str, &str)]) -> bool {
        // A key that is requested twice must match both times.
        self.0.iter().all(|(key, values)| {
            let mut asked = request.iter().filter(|(name, _)| name == key).peekable();
            asked.peek().is_some() && asked.all(|(_, value)| values.iter().any(|v| v == value))
        })
    }

    pub(super) fn covers(&self, narrower: &Self) -> bool {
        self.0.iter().all(|(key, values)| {
            narrower
                .0
                .get(key)
                .is_some_and(|inner| inner.iter().all(|value| values.contains(value)))
        })
    }

    /// Returns `None` if no request can be in both.
    pub(super) fn intersect(&self, other: &Self) -> Option<Self> {
        let mut keys = (*self.0).clone();
        for (key, theirs) in other.0.iter() {
            match keys.get_mut(key) {
                Some(ours) => ours.retain(|value| theirs.contains(value)),
                None => {
                    keys.insert(key.clone(), theirs.clone());
                }
            }
        }
        keys.values().all(|values| !values.is_empty()).then(|| Self(Arc::new(keys)))
    }
}

impl Serialize for AclEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("AclEntry", 2)?;
        entry.serialize_field("scope", &*self.scope.0)?;
        entry.serialize_field("permissions", &self.permissions.as_ref())?;
        entry.end()
    }
}

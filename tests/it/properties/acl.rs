//! Access-control lists, next to a model of them that is as plain as the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use countersign::testing::TestIssuer;
use countersign::{
    Acl, AclEntry, Actor, CustomerId, ExchangeRequest, NewSession, OrganizationId, Policy,
    RequestContext, TokenService, Validator,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use tokio::runtime::Runtime;

const KEYS: [&str; 3] = ["organizationId", "productId", "region"];
const VALUES: [&str; 3] = ["a", "b", "c"];
const PATTERNS: [&str; 9] =
    ["*", "Get*", "GetO*", "Post*", "GetOrders", "GetO", "Get", "Post", "X"];
const ASKED: [&str; 6] = ["GetOrders", "GetO", "Get", "Post", "PostOrder", "X"];

#[derive(Clone, Debug)]
struct Entry {
    scope: BTreeMap<&'static str, BTreeSet<&'static str>>,
    permissions: BTreeSet<&'static str>,
}

impl Entry {
    fn allows(&self, permission: &str, scope: &BTreeMap<&str, &str>) -> bool {
        let is_granted = self.permissions.iter().any(|pattern| matches(pattern, permission));
        let is_inside = self
            .scope
            .iter()
            .all(|(key, values)| scope.get(key).is_some_and(|value| values.contains(value)));
        is_granted && is_inside
    }

    /// As somebody holds it who is bound to an organization.
    fn within(&self, organization: &'static str) -> Option<Self> {
        let mut scope = self.scope.clone();
        if scope.get("organizationId").is_some_and(|values| !values.contains(organization)) {
            return None;
        }
        scope.insert("organizationId", [organization].into());
        Some(Self { scope, permissions: self.permissions.clone() })
    }

    /// Whether each permission is granted by one single entry whose scope covers this one's.
    fn lies_within(&self, wider: &[Self]) -> bool {
        self.permissions.iter().all(|permission| {
            wider.iter().any(|entry| {
                entry.permissions.iter().any(|pattern| covers(pattern, permission))
                    && entry.scope.iter().all(|(key, values)| {
                        self.scope.get(key).is_some_and(|inner| inner.is_subset(values))
                    })
            })
        })
    }
}

fn matches(pattern: &str, permission: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => permission.starts_with(prefix),
        None => pattern == permission,
    }
}

/// Of patterns, the one covers the other where all that the other may become begins like it.
fn covers(pattern: &str, other: &str) -> bool {
    match (pattern.strip_suffix('*'), other.strip_suffix('*')) {
        (Some(prefix), Some(other)) => other.starts_with(prefix),
        (Some(prefix), None) => other.starts_with(prefix),
        (None, Some(_)) => false,
        (None, None) => pattern == other,
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let scope = btree_map(select(&KEYS), btree_set(select(&VALUES), 1..=3), 0..=3);
    let permissions = btree_set(select(&PATTERNS), 1..=4);
    (scope, permissions).prop_map(|(scope, permissions)| Entry { scope, permissions })
}

/// Short lists, and such as are long enough for an index.
fn list() -> impl Strategy<Value = Vec<Entry>> {
    vec(entry(), 0..=8)
}

fn request() -> impl Strategy<Value = BTreeMap<&'static str, &'static str>> {
    btree_map(select(&KEYS), select(&VALUES), 0..=3)
}

fn acl(entries: &[Entry]) -> Acl {
    Acl::new(entries.iter().map(|entry| {
        let scope = entry.scope.iter().map(|(key, values)| (*key, values.iter().copied()));
        AclEntry::new(scope, entry.permissions.iter().copied()).unwrap()
    }))
}

fn allows(acl: &Acl, permission: &str, scope: &BTreeMap<&str, &str>) -> bool {
    let scope: Vec<_> = scope.iter().map(|(key, value)| (*key, *value)).collect();
    acl.allows(permission, &scope)
}

proptest! {
    #[test]
    fn a_list_allows_what_the_rules_allow(
        entries in list(), permission in select(&ASKED), scope in request(),
    ) {
        let expected = entries.iter().any(|entry| entry.allows(permission, &scope));
        prop_assert_eq!(allows(&acl(&entries), permission, &scope), expected);
    }

    #[test]
    fn a_principal_of_an_organization_holds_its_list_as_if_each_entry_were_scoped_to_it(
        entries in list(), own in select(&VALUES), permission in select(&ASKED),
        scope in request(),
    ) {
        let scoped: Vec<_> = entries.iter().filter_map(|entry| entry.within(own)).collect();
        let issuer = TestIssuer::new();
        let token = issuer.token().user("jane").organization(own).acl(&acl(&entries)).sign();
        let validator = Validator::builder()
            .issuer(issuer.issuer())
            .audience("https://api.example.com")
            .keys(issuer.keys().clone())
            .clock(issuer.clock().clone())
            .trailing_wildcards(true)
            .build()
            .unwrap();
        let bound = validator.validate(&token).unwrap();
        let asked: Vec<_> = scope.iter().map(|(key, value)| (*key, *value)).collect();
        let expected = scoped.iter().any(|entry| entry.allows(permission, &scope));
        prop_assert_eq!(bound.allows(permission, &asked), expected);
        // What it says of itself is what it is judged by.
        prop_assert_eq!(allows(&bound.acl(), permission, &scope), expected);
        prop_assert_eq!(bound.acl(), acl(&scoped));
        prop_assert!(scope.get("organizationId") == Some(&own) || !expected);
    }

    #[test]
    fn an_exchange_gives_what_lies_within_the_list_as_its_organization_holds_it(
        held in list(), asked in vec(entry(), 1..=4), own in select(&VALUES),
    ) {
        static TOKENS: LazyLock<TokenService> = LazyLock::new(|| {
            let policy = Policy::default().tokens(|tokens| tokens.trailing_wildcards(true));
            TestIssuer::new().service_builder().policy(policy).build().unwrap()
        });
        let scoped: Vec<_> = held.iter().filter_map(|entry| entry.within(own)).collect();
        let lies_within = |entry: &Entry| {
            entry.within(own).is_some_and(|entry| entry.lies_within(&scoped))
        };
        let new = NewSession::of(CustomerId::new("cus_1").unwrap())
            .organization(OrganizationId::new(own).unwrap())
            .acl(acl(&held));
        let request = ExchangeRequest::default().acl(acl(&asked));
        let exchanged = Runtime::new().unwrap().block_on(async {
            let session = TOKENS.start_session(Actor::Host, new, &RequestContext::without_address()).await.unwrap();
            TOKENS.exchange(&session.token, request, &RequestContext::without_address()).await
        });
        prop_assert_eq!(exchanged.is_ok(), asked.iter().all(lies_within));
    }

    #[test]
    fn a_list_narrows_another_by_the_rule_of_single_entries(narrow in list(), wide in list()) {
        let expected = narrow.iter().all(|entry| entry.lies_within(&wide));
        let (narrow, wide) = (acl(&narrow), acl(&wide));
        prop_assert_eq!(narrow.narrows(&wide), expected);
        prop_assert_eq!(narrow.first_beyond([&wide]).is_none(), expected);
    }

    #[test]
    fn a_narrower_list_allows_nothing_that_the_wider_one_does_not(
        narrow in list(), wide in list(), permission in select(&ASKED), scope in request(),
    ) {
        let (narrow, wide) = (acl(&narrow), acl(&wide));
        if narrow.narrows(&wide) && allows(&narrow, permission, &scope) {
            prop_assert!(allows(&wide, permission, &scope));
        }
    }

    #[test]
    fn to_narrow_is_an_order_between_nothing_and_everything(
        one in list(), other in list(), third in list(),
    ) {
        let (one, other, third) = (acl(&one), acl(&other), acl(&third));
        prop_assert!(one.narrows(&one));
        prop_assert!(one.narrows(&Acl::everything()));
        prop_assert!(Acl::default().narrows(&one));
        if one.narrows(&other) && other.narrows(&third) {
            prop_assert!(one.narrows(&third));
        }
    }

    #[test]
    fn an_intersection_allows_what_both_lists_allow_and_narrows_both(
        one in list(), other in list(), permission in select(&ASKED), scope in request(),
    ) {
        let (one, other) = (acl(&one), acl(&other));
        let both = one.intersect(&other);
        prop_assert_eq!(
            allows(&both, permission, &scope),
            allows(&one, permission, &scope) && allows(&other, permission, &scope)
        );
        prop_assert!(both.narrows(&one) && both.narrows(&other));
    }

    #[test]
    fn a_list_is_read_as_it_was_written(entries in list()) {
        let acl = acl(&entries);
        let written = serde_json::to_string(&acl).unwrap();
        prop_assert_eq!(serde_json::from_str::<Acl>(&written).unwrap(), acl);
    }
}

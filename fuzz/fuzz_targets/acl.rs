//! Two lists, a line each: what is read is written as it was, and the laws of narrowing hold.

#![no_main]

use countersign::Acl;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let mut next = || serde_json::from_str::<Acl>(lines.next()?).ok();
    let (Some(one), Some(other)) = (next(), next()) else { return };
    let written = serde_json::to_string(&one).unwrap();
    assert_eq!(serde_json::from_str::<Acl>(&written).unwrap(), one);

    assert!(one.narrows(&one));
    assert!(one.narrows(&Acl::everything()));
    let both = one.intersect(&other);
    assert!(both.narrows(&one) && both.narrows(&other));
    for entry in one.entries() {
        let scope: Vec<(&str, &str)> =
            entry.scope().map(|(key, values)| (key, values[0].as_str())).collect();
        for permission in entry.permissions().filter(|permission| !permission.ends_with('*')) {
            assert!(one.allows(&permission, &scope));
            let by_other = other.allows(&permission, &scope);
            assert_eq!(both.allows(&permission, &scope), by_other);
            assert!(!one.narrows(&other) || by_other);
        }
    }
});

//! Names as people read them.
//!
//! A store may treat names as equal that differ in case, surrounding blanks or encoding, and so may a reader. An
//! attacker must not get a fresh count of attempts for each spelling of a name, and no principal may be registered
//! under a name that looks like another's.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};
use unicode_security::confusable_detection::skeleton;

use crate::jose::material::base64url;

/// The maximum length of a name. A longer text is not folded.
const MAX_LEN: usize = 256;

/// Returns one text for all names that differ only in case, blanks and control characters, or look the same in lower
/// case (UTS 39 §4). Names whose upper case looks alike but whose lower case does not stay distinct: no store treats
/// those as equal.
pub(in crate::service) fn fold(name: &str) -> Cow<'_, str> {
    if name.len() > MAX_LEN {
        return Cow::Borrowed(name);
    }
    let visible = name.chars().filter(|c| !c.is_control() && !c.is_whitespace() && !is_ignored(*c));
    let caseless: String = visible.flat_map(fold_case).collect();
    // The skeleton of a letter may have another case.
    Cow::Owned(skeleton(&caseless).flat_map(fold_case).collect())
}

/// Returns a digest of the folded name: a fold may be ten times as long as the name, and so nearly exceed what a
/// Postgres index can hold.
pub(in crate::service) fn folded_digest(name: &str) -> String {
    base64url(&Sha256::digest(fold(name).as_bytes()))
}

/// Folds by way of the upper case, which letters like `s` and `ſ` share although each is lower case.
fn fold_case(c: char) -> impl Iterator<Item = char> {
    c.to_uppercase().flat_map(char::to_lowercase)
}

/// Characters that are not displayed (UAX 44, `Default_Ignorable_Code_Point`), of those in use.
fn is_ignored(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_write_one_name_are_one_text() {
        for other in [
            "JOSÉ@example.com",
            " josé@example.com\t",
            "jose\u{301}@example.com",
            "josé@example.com\0",
            "j\u{200b}osé@example.com",
            "josé@ex\u{430}mple.com",
            "ｊosé@example.com",
            "joſé@example.com",
        ] {
            assert_eq!(fold(other), fold("josé@example.com"), "{other:?}");
        }
    }

    #[test]
    fn a_digest_is_of_one_length_however_long_the_fold() {
        let long = "\u{fdfa}".repeat(MAX_LEN / 3);
        assert!(fold(&long).len() > 2_500);
        for name in ["", "jane", &long] {
            assert_eq!(folded_digest(name).len(), 43);
        }
        assert_eq!(folded_digest("Jane"), folded_digest("jane"));
    }

    #[test]
    fn names_that_differ_stay_apart() {
        for other in ["jane@example.com", "josé@example.org", "jos@example.com", ""] {
            assert_ne!(fold(other), fold("josé@example.com"), "{other:?}");
        }
        let long = "x".repeat(300);
        assert_eq!(fold(&long), long.as_str());
    }
}

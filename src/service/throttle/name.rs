//! Names as a throttle counts them.
//!
//! A store may take names for one that differ in case, in blanks around them or in how they are
//! encoded, and so may a person who reads them. Whoever guesses must not get a fresh count for each
//! way to write one name.

use std::borrow::Cow;

use unicode_security::confusable_detection::skeleton;

/// Longer texts are nobody's name, and count as they are.
const MAX_LEN: usize = 256;

/// One text for all names that differ in case, blanks and control characters alone, or look the same
/// once they are in small letters (UTS 39 §4). Capitals that look alike and have small letters that do
/// not stay apart: no store takes those for one.
pub(super) fn fold(name: &str) -> Cow<'_, str> {
    if name.len() > MAX_LEN {
        return Cow::Borrowed(name);
    }
    let visible = name.chars().filter(|c| !c.is_control() && !c.is_whitespace() && !is_ignored(*c));
    let caseless: String = visible.flat_map(fold_case).collect();
    // What a letter looks like may have another case.
    Cow::Owned(skeleton(&caseless).flat_map(fold_case).collect())
}

/// By way of the upper case, which letters share that have a lower case each: `s` and `ſ`.
fn fold_case(c: char) -> impl Iterator<Item = char> {
    c.to_uppercase().flat_map(char::to_lowercase)
}

/// Characters that are not displayed (UAX 44, `Default_Ignorable_Code_Point`), those that occur.
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
    fn names_that_differ_stay_apart() {
        for other in ["jane@example.com", "josé@example.org", "jos@example.com", ""] {
            assert_ne!(fold(other), fold("josé@example.com"), "{other:?}");
        }
        let long = "x".repeat(300);
        assert_eq!(fold(&long), long.as_str());
    }
}

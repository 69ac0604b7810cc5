//! Texts that are shown and compared unchanged: names, ids and the values of scopes.

/// The longest such text in bytes: room for an e-mail address (RFC 5321 §4.5.3.1: 254).
pub(crate) const MAX_LEN: usize = 256;

/// The rule of [`is_text`] for at most [`MAX_LEN`] bytes, for messages.
pub(crate) const RULE: &str = "must be 1 to 256 bytes, not blank, without control characters";

/// Returns whether a text is not blank, not too long and without control characters.
pub(crate) fn is_text(text: &str, max_len: usize) -> bool {
    !text.trim().is_empty() && text.len() <= max_len && !text.chars().any(char::is_control)
}

use std::fmt;

use http::{HeaderValue, Uri};
use serde::{Deserialize, Deserializer};

/// The path of this site to redirect to after a login; [`login_page`](crate::ExchangeLayer::login_page) passes it in
/// the query parameter `next`.
///
/// It never leads to another site, whatever the request contains: anything but a plain path of this site, such as
/// `https://elsewhere.example`, `//elsewhere.example` or `/\\elsewhere.example`, becomes `/`. Nor can it end an
/// attribute in a page, such as that of a hidden field: quotes and angle brackets are percent-encoded.
///
/// ```
/// use axum::extract::Form;
/// use axum::response::{IntoResponse, Redirect};
/// use countersign::Password;
/// use countersign::cookies::ReturnPath;
///
/// #[derive(serde::Deserialize)]
/// struct Login {
///     name: String,
///     password: Password,
///     #[serde(default)]
///     next: ReturnPath,
/// }
///
/// async fn log_in(Form(login): Form<Login>) -> impl IntoResponse {
///     // Once the password was right:
///     Redirect::to(login.next.as_str())
/// }
/// assert_eq!(ReturnPath::new("/orders?page=2").as_str(), "/orders?page=2");
/// assert_eq!(ReturnPath::new("//elsewhere.example").as_str(), "/");
/// assert_eq!(ReturnPath::new("/\"><script>").as_str(), "/%22%3E%3Cscript%3E");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnPath(String);

/// Longer paths are not those of a page.
const MAX_LEN: usize = 2_048;

impl ReturnPath {
    /// Creates a path from a request's parameter; `/` if that is not a path of this site.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut bytes = text.bytes();
        let is_path = bytes.next() == Some(b'/') && !matches!(bytes.next(), Some(b'/' | b'\\'));
        // Browsers treat `\` as `/`, and drop tabs and line breaks.
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        if !(is_path && is_plain && text.len() <= MAX_LEN) {
            return Self::default();
        }
        Self(text.chars().fold(String::with_capacity(text.len()), |mut path, one| {
            match escape(one) {
                Some(escaped) => path.push_str(escaped),
                None => path.push(one),
            }
            path
        }))
    }

    /// Returns the path, and the query if there is one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the address of a login page that redirects back to the requested page.
    pub(super) fn login(page: &str, asked: &Uri) -> Option<HeaderValue> {
        let next = Self::new(asked.path_and_query().map_or("/", |asked| asked.as_str()));
        let mut query = String::new();
        for byte in next.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                    query.push(char::from(byte));
                }
                byte => query.push_str(&format!("%{byte:02X}")),
            }
        }
        let separator = if page.contains('?') { '&' } else { '?' };
        HeaderValue::try_from(format!("{page}{separator}next={query}")).ok()
    }
}

/// Returns the encoding of a character that ends an attribute or begins an element of HTML, so that a page that does
/// not escape the path is safe. Of these, only the apostrophe is allowed in a path (RFC 3986 §3.3).
fn escape(one: char) -> Option<&'static str> {
    match one {
        '"' => Some("%22"),
        '\'' => Some("%27"),
        '<' => Some("%3C"),
        '>' => Some("%3E"),
        '`' => Some("%60"),
        _ => None,
    }
}

impl Default for ReturnPath {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl fmt::Display for ReturnPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ReturnPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leads_to_no_other_site_whatever_it_is_made_of() {
        for text in [
            "",
            "orders",
            "https://elsewhere.example/",
            "//elsewhere.example",
            "/\\elsewhere.example",
            "/a\\b",
            "\\/elsewhere.example",
            "/\t/elsewhere.example",
            "/\r\nset-cookie: a=b",
            " /orders",
            "javascript:alert(1)",
            "/\u{e9}",
        ] {
            assert_eq!(ReturnPath::new(text).as_str(), "/", "{text:?}");
        }
        let long = format!("/{}", "a".repeat(MAX_LEN));
        assert_eq!(ReturnPath::new(&long).as_str(), "/");
        for text in ["/", "/orders", "/orders?next=//b&a=%2F#c", "/a//b"] {
            assert_eq!(ReturnPath::new(text).as_str(), text);
        }
    }

    #[test]
    fn it_ends_no_attribute_of_a_page() {
        let path = ReturnPath::new("/a?b=\"><script>'`&c=%22");
        assert_eq!(path.as_str(), "/a?b=%22%3E%3Cscript%3E%27%60&c=%22");
        assert_eq!(ReturnPath::new(path.as_str()), path);
    }

    #[test]
    fn the_address_of_a_login_page_holds_it_as_one_parameter() {
        let asked = "/orders?page=2&next=x".parse().unwrap();
        let address = ReturnPath::login("/login", &asked).unwrap();
        assert_eq!(address, "/login?next=/orders%3Fpage%3D2%26next%3Dx");
        let address = ReturnPath::login("/login?theme=dark", &asked).unwrap();
        assert_eq!(address, "/login?theme=dark&next=/orders%3Fpage%3D2%26next%3Dx");
    }
}

//! Secret texts: zeroized when dropped, redacted in `Debug`.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{self, Visitor};

use crate::error::Error;

/// Defines a type for a secret text.
macro_rules! secret_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// `Debug` is redacted, the memory is zeroized on drop, and there is no `Display`: `expose` returns the text.
        #[derive(Clone)]
        pub struct $name(zeroize::Zeroizing<String>);

        impl $name {
            /// Returns the text. It is a secret: pass it on, but do not store or log it.
            #[must_use]
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "([redacted])"))
            }
        }
    };
}

pub(crate) use secret_text;

/// A secret text that is read from a request.
pub(crate) trait FromSecretText: Sized {
    /// The rule for valid texts, for error messages.
    const RULE: &'static str;

    /// Takes ownership of the text, which is zeroized whether or not it is valid.
    fn from_secret_text(text: String) -> Result<Self, Error>;
}

/// Deserializes a secret text. No error quotes a value, unlike serde's own if there is a number instead of a text.
pub(crate) fn deserialize_secret<'de, T: FromSecretText, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    let visitor = SecretTextVisitor(PhantomData);
    // If `deserialize_string` were used, serde_json would quote another value before the visitor sees it.
    if from.is_human_readable() {
        from.deserialize_any(visitor)
    } else {
        from.deserialize_string(visitor)
    }
}

struct SecretTextVisitor<T>(PhantomData<T>);

impl<T: FromSecretText> SecretTextVisitor<T> {
    fn fault<E: de::Error>() -> E {
        E::custom(T::RULE)
    }
}

impl<T: FromSecretText> Visitor<'_> for SecretTextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<T, E> {
        T::from_secret_text(text).map_err(|_| Self::fault())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<T, E> {
        Err(Self::fault())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<T, E> {
        Err(Self::fault())
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<T, E> {
        Err(Self::fault())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<T, E> {
        Err(Self::fault())
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<T, E> {
        Err(Self::fault())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<T, E> {
        Err(Self::fault())
    }
}

//! The registered claims of a trusted issuer's token (RFC 7519 §4.1), read as leniently as they are defined: a date may
//! have a fraction or an exponent (§2), and an optional claim may be `null`.

use serde_json::{Map, Number, Value};

use crate::token::claims::audience;
use crate::validate::TokenFault;

/// RFC 7519 §4.1.3.
pub(super) const AUDIENCE: &str = "aud";
/// The integers that every JSON parser reads exactly.
const LATEST: u64 = (1 << 53) - 1;

/// The registered claims that decide whether a token is valid.
#[derive(Debug)]
pub(super) struct RegisteredClaims {
    /// What the claim of the audience names.
    pub(super) audiences: Vec<String>,
    pub(super) exp: u64,
    pub(super) nbf: Option<u64>,
    pub(super) iat: Option<u64>,
    pub(super) jti: Option<String>,
}

/// A claim that is missing or cannot be read.
#[derive(Debug)]
pub(super) struct WrongClaim {
    pub(super) fault: TokenFault,
    /// Which one, and what is wrong with it. It quotes no value.
    pub(super) problem: String,
}

impl WrongClaim {
    fn new(problem: String) -> Self {
        Self { fault: TokenFault::Claims, problem }
    }
}

impl RegisteredClaims {
    /// Reads the claims, and `audience_claim` in the place of `aud`.
    pub(super) fn read(
        claims: &Map<String, Value>,
        audience_claim: &str,
    ) -> Result<Self, WrongClaim> {
        let stated = |name: &str| claims.get(name).filter(|value| !value.is_null());
        let audiences = stated(audience_claim).ok_or_else(|| WrongClaim {
            fault: TokenFault::Audience,
            problem: format!("`{audience_claim}` is missing"),
        })?;
        let audiences = audience(audiences).map_err(|_| {
            WrongClaim::new(format!("`{audience_claim}` is not a string or a list of strings"))
        })?;
        let date = |name: &str, round: fn(Date) -> u64| {
            let seconds = stated(name)
                .map(|value| Date::read(value).map(round))
                .map_or(Ok(None), |seconds| {
                    seconds.filter(|seconds| *seconds <= LATEST).map(Some).ok_or(())
                });
            seconds.map_err(|()| WrongClaim::new(format!("`{name}` is not a date in seconds")))
        };
        // A token is valid no longer than its issuer says, and no earlier.
        let exp = date("exp", Date::floor)?;
        let exp = exp.ok_or_else(|| WrongClaim::new("`exp` is missing".to_owned()))?;
        let (nbf, iat) = (date("nbf", Date::ceil)?, date("iat", Date::ceil)?);
        let jti = match stated("jti") {
            None => None,
            Some(Value::String(jti)) if !jti.is_empty() => Some(jti.clone()),
            Some(Value::Number(jti)) => Some(jti.to_string()),
            Some(_) => {
                return Err(WrongClaim::new("`jti` is not a string or a number".to_owned()));
            }
        };
        Ok(Self { audiences, exp, nbf, iat, jti })
    }
}

/// A date in seconds since 1970 (RFC 7519 §2, NumericDate).
#[derive(Clone, Copy)]
struct Date {
    seconds: u64,
    has_fraction: bool,
}

impl Date {
    fn read(value: &Value) -> Option<Self> {
        let Value::Number(number) = value else { return None };
        match number.as_u64() {
            Some(seconds) => Some(Self { seconds, has_fraction: false }),
            None => Self::read_decimal(number),
        }
    }

    /// Reads the digits of what the parser has read as a double, which is exact to less than a microsecond at today's
    /// dates. Those of a number that is too large have an exponent.
    fn read_decimal(number: &Number) -> Option<Self> {
        let text = number.to_string();
        let (seconds, fraction) = text.split_once('.')?;
        let is_digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
        let has_fraction = fraction.bytes().any(|byte| byte != b'0');
        seconds.parse().ok().filter(|_| is_digits).map(|seconds| Self { seconds, has_fraction })
    }

    fn floor(self) -> u64 {
        self.seconds
    }

    fn ceil(self) -> u64 {
        self.seconds.saturating_add(u64::from(self.has_fraction))
    }
}

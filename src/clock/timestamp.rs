use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, ErrorKind};

/// An instant in UTC, in microseconds, from 1970 to the end of the year 9999, less a day.
///
/// Arithmetic saturates at those bounds, so an attacker cannot cause an overflow.
///
/// ```
/// use std::time::Duration;
/// use countersign::Timestamp;
///
/// let issued: Timestamp = "2024-07-16T13:33:34.509+02:00".parse()?;
/// assert_eq!(issued.to_string(), "2024-07-16T11:33:34.509Z");
/// assert_eq!((issued + Duration::from_secs(60)).as_secs(), issued.as_secs() + 60);
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    micros: u64,
}

const MICROS_PER_SECOND: u64 = 1_000_000;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self { micros: 0 };
    /// 9999-12-30T22:00:00.999999Z, the last instant that has a four-digit year in every time zone.
    pub const MAX: Self = Self { micros: 253_402_207_200_999_999 };

    /// Returns the instant that is this many whole seconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self::from_micros(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Returns the instant that is this many microseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        if micros > Self::MAX.micros { Self::MAX } else { Self { micros } }
    }

    /// Returns the whole seconds since 1970-01-01T00:00:00Z, rounded down: rounded up, a token would seem to begin
    /// later or live longer than it does.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.micros / MICROS_PER_SECOND
    }

    /// Returns the microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.micros
    }

    /// Returns the instant without its fraction of a second.
    #[must_use]
    pub const fn floor_to_second(self) -> Self {
        Self::from_secs(self.as_secs())
    }

    /// Returns the time since `earlier`, or zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros.saturating_sub(earlier.micros))
    }

    pub(crate) fn civil(self) -> jiff::Timestamp {
        let micros = i64::try_from(self.micros).unwrap_or(i64::MAX);
        jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX)
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self::from_micros(self.micros.saturating_add(micros))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self { micros: self.micros.saturating_sub(micros) }
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self::MIN + time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_micros(timestamp.micros)
    }
}

/// Writes RFC 3339 in UTC with milliseconds, rounded down: `2024-07-16T11:33:34.509Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.civil().strftime("%Y-%m-%dT%H:%M:%S.%3fZ"))
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    /// Parses a date-time of RFC 3339 §5.6 with any offset. A leap second counts as the second before it. Instants
    /// before [`Timestamp::MIN`] or after [`Timestamp::MAX`] are clamped to them.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidRequest`] for any other text, including ISO 8601 forms that RFC 3339 does not
    /// allow.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::new(ErrorKind::InvalidRequest, "not a date-time of RFC 3339");
        if !is_rfc3339(text.as_bytes()) {
            return Err(invalid());
        }
        let Ok(parsed) = text.parse::<jiff::Timestamp>() else {
            // The parser rejects the last hours of the year 9999, which are valid date-times.
            let local = text.get(..DATE_TIME.len()).and_then(|local| local.parse().ok());
            let local: jiff::civil::DateTime = local.ok_or_else(invalid)?;
            return if local.year() == 9999 && local.month() == 12 && local.day() >= 30 {
                Ok(Self::MAX)
            } else {
                Err(invalid())
            };
        };
        Ok(Self::from_micros(u64::try_from(parsed.as_microsecond()).unwrap_or(0)))
    }
}

const DATE_TIME: &[u8] = b"dddd-dd-ddTdd:dd:dd";

/// Returns whether `text` has the shape of RFC 3339's `date-time`. The parser checks the ranges, except those of the
/// offset, where it is more lenient.
fn is_rfc3339(text: &[u8]) -> bool {
    let Some((head, mut rest)) = text.split_at_checked(DATE_TIME.len()) else { return false };
    if !has_shape(head, DATE_TIME) {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 || digits > 9 {
            return false;
        }
        rest = fraction.get(digits..).unwrap_or_default();
    }
    matches!(rest, b"Z" | b"z") || is_offset(rest)
}

/// At most `+23:59`, with either sign.
fn is_offset(text: &[u8]) -> bool {
    let hours = text.get(1..3).unwrap_or_default();
    let tens_of_minutes = text.get(4..5).unwrap_or_default();
    (has_shape(text, b"+dd:dd") || has_shape(text, b"-dd:dd"))
        && hours <= b"23".as_slice()
        && tens_of_minutes <= b"5".as_slice()
}

fn has_shape(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text.iter().zip(shape).all(|(byte, expected)| match expected {
            b'd' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b't'),
            other => byte == other,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_date_time_of_rfc_3339_is_read() {
        for good in [
            "2024-07-16T11:33:34Z",
            "2024-07-16t11:33:34.5z",
            "2024-07-16T11:33:34.123456789+14:00",
            "2024-07-16T11:33:34+23:59",
            "2024-07-16T11:33:34-23:59",
            "2024-07-16T11:33:34-00:00",
            "9999-12-31T23:59:59Z",
            "2016-12-31T23:59:60Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert!(good.parse::<Timestamp>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "2024-07-16",
            "2024-07-16T11:33:34",
            "2024-07-16 11:33:34Z",
            "20240716T113334Z",
            "2024-07-16T11:33Z",
            "2024-07-16T11:33:34.Z",
            "2024-07-16T11:33:34,5Z",
            "2024-07-16T11:33:34+0200",
            "2024-07-16T11:33:34+24:00",
            "2024-07-16T11:33:34+25:00",
            "2024-07-16T11:33:34-24:00",
            "2024-07-16T11:33:34+23:60",
            "2024-07-16T11:33:34+99:99",
            "9999-12-31T23:59:59-25:00",
            "2024-02-30T11:33:34Z",
            "2024-07-16T24:00:00Z",
            "2024-07-16T11:33:34Z[UTC]",
            "+002024-07-16T11:33:34Z",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp::MAX + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::MIN - Duration::MAX, Timestamp::MIN);
        assert_eq!(Timestamp::from_secs(u64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T22:00:00.999Z");
    }

    #[test]
    fn seconds_and_milliseconds_are_floored() {
        let instant = Timestamp::from_micros(1_999_999);
        assert_eq!(instant.as_secs(), 1);
        assert_eq!(instant.to_string(), "1970-01-01T00:00:01.999Z");
    }
}

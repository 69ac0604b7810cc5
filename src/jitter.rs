//! Random jitter for waits, so that many waits that begin at one moment do not end at one moment.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Returns a random duration shorter than `limit`; zero if `limit` is zero.
pub(crate) fn below(limit: Duration) -> Duration {
    // Seeded from the operating system's randomness each time; it need not be unpredictable.
    let random = RandomState::new().build_hasher().finish();
    let nanos = (limit.as_nanos().min(u128::from(u64::MAX)) * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_below_the_limit_and_spread_over_all_of_it() {
        let limit = Duration::from_secs(10);
        let drawn: Vec<_> = (0..1_000).map(|_| below(limit)).collect();
        assert!(drawn.iter().all(|drawn| *drawn < limit));
        for tenth in 0..10 {
            let range = limit * tenth / 10..limit * (tenth + 1) / 10;
            assert!(drawn.iter().any(|drawn| range.contains(drawn)), "{range:?}");
        }
        assert_eq!(below(Duration::ZERO), Duration::ZERO);
        assert!(below(Duration::MAX) < Duration::MAX);
    }
}

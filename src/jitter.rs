//! A random part of a wait, so that many who began to wait at one moment do not all come back at another.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Returns a random duration that is shorter than `limit`, or zero where that is.
pub(crate) fn below(limit: Duration) -> Duration {
    // Seeded anew each time, by the operating system's randomness; nobody has to be unable to guess it.
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

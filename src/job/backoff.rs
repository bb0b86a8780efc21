//! How long to wait before the next attempt: exponential backoff with jitter.
//!
//! Pure arithmetic, computed from the attempt's number alone, because the attempt may happen on
//! another machine tomorrow. The worker asks it for due times and for short pauses.
//!
//! The arithmetic is that of the `backoff` crate, and this is the only file that names it. The
//! crate is unmaintained (RUSTSEC-2025-0012; its dependency `instant`: RUSTSEC-2024-0384); neither
//! notice is about a vulnerability, and what is used of it is one function, held to its promises
//! by the property tests below. If that changes, `backon` replaces it in this file.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// The shortest wait, since due times are whole milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);

/// Waits that grow from one attempt to the next. Values out of range are taken as the nearest in
/// range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first wait.
    pub initial: Duration,
    /// What each further wait is multiplied with; 1 or more.
    pub multiplier: f64,
    /// The longest wait, jitter included.
    pub max: Duration,
    /// How far a wait may lie from its computed length, as a part of it, 0 to 1.
    pub jitter: f64,
}

impl Backoff {
    /// The `n`-th wait; 0 is the first. In whole milliseconds, at least one, at most `max`.
    #[must_use]
    pub fn delay(&self, n: u32) -> Duration {
        let max = self.max.max(SHORTEST);
        // `f64::max` also turns NaN into the bound.
        let multiplier = self.multiplier.max(1.0);
        let mut policy = ExponentialBackoff {
            current_interval: self.interval(n, multiplier, max),
            randomization_factor: self.jitter.clamp(0.0, 1.0).max(0.0),
            multiplier,
            max_interval: max,
            // Its default ends the policy after 15 minutes.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        // A policy without an end always has a next wait.
        let wait = policy.next_backoff().unwrap_or(max);
        let whole_ms = Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        whole_ms.clamp(SHORTEST, max)
    }

    /// `initial` times `multiplier` to the power of `n`, at most `max`.
    fn interval(&self, n: u32, multiplier: f64, max: Duration) -> Duration {
        let seconds = self.initial.max(SHORTEST).as_secs_f64() * multiplier.powf(f64::from(n));
        // What is infinite or too large for a duration is over any maximum.
        Duration::try_from_secs_f64(seconds).unwrap_or(max).min(max)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn backoffs(jitter: impl Strategy<Value = f64>) -> impl Strategy<Value = Backoff> {
        let milliseconds = || (0_u64..200_000_000).prop_map(Duration::from_millis);
        (milliseconds(), 1.0..8.0_f64, milliseconds(), jitter).prop_map(
            |(initial, multiplier, max, jitter)| Backoff { initial, multiplier, max, jitter },
        )
    }

    fn attempts() -> impl Strategy<Value = u32> {
        prop_oneof![0_u32..20, any::<u32>()]
    }

    proptest! {
        #[test]
        fn a_wait_lies_within_its_jitter_and_its_bounds(
            backoff in backoffs(0.0..=1.0_f64),
            n in attempts(),
        ) {
            let wait = backoff.delay(n);
            let max = backoff.max.max(SHORTEST);
            prop_assert!((SHORTEST..=max).contains(&wait), "{wait:?}");
            let middle = Backoff { jitter: 0.0, ..backoff }.delay(n);
            // A millisecond on either side for cutting both to whole ones.
            let lower = middle.mul_f64(1.0 - backoff.jitter).saturating_sub(SHORTEST);
            let upper = middle.mul_f64(1.0 + backoff.jitter) + 2 * SHORTEST;
            prop_assert!((lower..=upper).contains(&wait), "{lower:?} {wait:?} {upper:?}");
        }

        #[test]
        fn without_jitter_waits_never_shrink(backoff in backoffs(Just(0.0)), n in attempts()) {
            prop_assert!(backoff.delay(n) <= backoff.delay(n.saturating_add(1)));
        }

        #[test]
        fn nonsense_neither_panics_nor_leaves_the_bounds(
            initial in any::<Duration>(),
            multiplier in any::<f64>(),
            max in any::<Duration>(),
            jitter in any::<f64>(),
            n in any::<u32>(),
        ) {
            let wait = Backoff { initial, multiplier, max, jitter }.delay(n);
            prop_assert!((SHORTEST..=max.max(SHORTEST)).contains(&wait));
        }
    }

    #[test]
    fn waits_grow_by_the_multiplier_up_to_the_maximum() {
        let backoff = Backoff {
            initial: Duration::from_secs(1),
            multiplier: 2.0,
            max: Duration::from_secs(60),
            jitter: 0.0,
        };
        let waits: Vec<u64> = (0..8).map(|n| backoff.delay(n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.delay(1_000_000_000), Duration::from_secs(60));
    }

    #[test]
    fn extremes_stay_within_bounds() {
        let backoff = Backoff {
            initial: Duration::ZERO,
            multiplier: f64::INFINITY,
            max: Duration::MAX,
            jitter: f64::NAN,
        };
        assert_eq!(backoff.delay(0), SHORTEST);
        assert_eq!(Backoff { multiplier: f64::NAN, ..backoff }.delay(9), SHORTEST);
        assert_eq!(Backoff { max: Duration::ZERO, ..backoff }.delay(9), SHORTEST);
        assert!(backoff.delay(u32::MAX) > Duration::from_secs(1 << 40));
    }

    #[test]
    fn jitter_spreads_waits_over_its_whole_range() {
        let backoff = Backoff {
            initial: Duration::from_secs(10),
            multiplier: 2.0,
            max: Duration::from_secs(60),
            jitter: 0.5,
        };
        let waits: HashSet<Duration> = (0..1000).map(|_| backoff.delay(0)).collect();
        // 10,000 possible values: a thousand draws cannot all but coincide by chance.
        assert!(waits.len() > 800, "{}", waits.len());
        assert!(waits.iter().any(|wait| wait.as_secs_f64() < 6.0));
        assert!(waits.iter().any(|wait| wait.as_secs_f64() > 14.0));
    }
}

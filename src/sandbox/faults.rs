//! Chance and limits: which call meets which fault, which video fails or is never pushed, which
//! call is one too many.
//!
//! Called under the sandbox's lock. All chance comes from the seed: the n-th submit of two runs
//! with one seed meets the same fault, whatever other calls come between, and a video's fate
//! hangs on the seed and its client-request-id alone.

use std::time::Instant;

use fastrand::Rng;

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing: it is answered as documented.
    None,
    /// It is answered with 500 and has no effect.
    Error,
    /// The connection closes before the call has an effect.
    LostBefore,
    /// The connection closes after the call had its effect.
    LostAfter,
}

impl Fault {
    /// This one, but none for a call that is spared.
    pub(super) fn unless(self, spared: bool) -> Self {
        if spared { Self::None } else { self }
    }
}

/// The faults of one endpoint, in order.
pub(super) struct Dice(Rng);

impl Dice {
    /// The fault of the next call.
    pub(super) fn roll(&mut self, drop_rate: f64, error_rate: f64) -> Fault {
        // Always three draws, so that a rate that is changed does not shift what follows.
        let (lost, after, error) = (self.0.f64(), self.0.bool(), self.0.f64());
        if lost < drop_rate {
            if after { Fault::LostAfter } else { Fault::LostBefore }
        } else if error < error_rate {
            Fault::Error
        } else {
            Fault::None
        }
    }
}

/// All chance of a sandbox.
pub(super) struct Chance {
    pub(super) seed: u64,
    pub(super) submit: Dice,
    pub(super) status: Dice,
    tokens: Rng,
}

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        let mut root = Rng::with_seed(seed);
        Self { seed, submit: Dice(root.fork()), status: Dice(root.fork()), tokens: root.fork() }
    }

    /// Whether the video of this request fails.
    pub(super) fn fails(&self, client_request_id: &str, fail_rate: f64) -> bool {
        fate(self.seed, client_request_id) < fail_rate
    }

    /// Whether the video of this request is never pushed.
    pub(super) fn loses_push(&self, client_request_id: &str, lost_rate: f64) -> bool {
        fate(!self.seed, client_request_id) < lost_rate
    }

    /// The text of the next token.
    pub(super) fn token(&mut self) -> String {
        format!("sandbox-{:032x}", self.tokens.u128(..))
    }
}

/// A number from 0 to 1 that hangs on these two alone.
fn fate(seed: u64, client_request_id: &str) -> f64 {
    // FNV-1a, begun with the seed.
    let hash = client_request_id
        .bytes()
        .fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    Rng::with_seed(hash).f64()
}

/// A token bucket: so many calls a second, one second's worth at once.
pub(super) struct Bucket {
    left: f64,
    filled_at: Instant,
}

impl Bucket {
    pub(super) fn full(now: Instant) -> Self {
        Self { left: f64::INFINITY, filled_at: now }
    }

    /// Takes one call; false: it is one too many.
    pub(super) fn take(&mut self, calls_per_second: f64, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.filled_at).as_secs_f64();
        let burst = calls_per_second.max(1.0);
        self.left = (self.left + since * calls_per_second).min(burst);
        self.filled_at = now;
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn faults(dice: &mut Dice, count: usize) -> Vec<Fault> {
        (0..count).map(|_| dice.roll(0.4, 0.5)).collect()
    }

    #[test]
    fn a_seed_gives_the_same_faults_whatever_other_calls_come_between() {
        let (mut one, mut other) = (Chance::new(7), Chance::new(7));
        faults(&mut other.status, 13);
        let submits = faults(&mut one.submit, 100);
        assert_eq!(submits, faults(&mut other.submit, 100));
        assert_ne!(submits, faults(&mut one.status, 100));
        assert_ne!(submits, faults(&mut Chance::new(8).submit, 100));
    }

    #[test]
    fn rates_are_parts_of_all_calls() {
        let share = |faults: &[Fault], fault| {
            faults.iter().filter(|it| **it == fault).count() * 100 / faults.len()
        };
        let faults = faults(&mut Chance::new(7).submit, 10_000);
        assert!((18..=22).contains(&share(&faults, Fault::LostBefore)));
        assert!((18..=22).contains(&share(&faults, Fault::LostAfter)));
        assert!((28..=32).contains(&share(&faults, Fault::Error)));
        assert_eq!(Chance::new(7).submit.roll(0.0, 0.0), Fault::None);
        assert_eq!(Chance::new(7).submit.roll(0.0, 1.0), Fault::Error);
    }

    #[test]
    fn a_changed_rate_does_not_shift_the_faults_that_follow() {
        let (mut one, mut other) = (Chance::new(7), Chance::new(7));
        one.submit.roll(1.0, 1.0);
        other.submit.roll(0.0, 0.0);
        assert_eq!(faults(&mut one.submit, 20), faults(&mut other.submit, 20));
    }

    #[test]
    fn a_fate_hangs_on_the_seed_and_the_id() {
        let failing = |seed| -> Vec<u32> {
            let chance = Chance::new(seed);
            (0..1000).filter(|number| chance.fails(&format!("job-{number}"), 0.2)).collect()
        };
        assert_eq!(failing(7), failing(7));
        assert_ne!(failing(7), failing(8));
        assert!((150..=250).contains(&failing(7).len()), "{}", failing(7).len());
    }

    #[test]
    fn a_lost_push_hangs_on_the_seed_and_the_id_and_not_on_the_video() {
        let lost = |seed, number: u32| Chance::new(seed).loses_push(&format!("job-{number}"), 0.5);
        let fails = |number| Chance::new(7).fails(&format!("job-{number}"), 0.5);
        let both = (0..1000).filter(|number| lost(7, *number) && fails(*number)).count();
        assert!((200..=300).contains(&both), "{both}");
        assert!((0..1000).all(|number| lost(7, number) == lost(7, number)));
        assert!((0..1000).any(|number| lost(7, number) != lost(8, number)));
    }

    #[test]
    fn a_bucket_allows_one_seconds_worth_at_once_and_refills() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        let taken = |bucket: &mut Bucket, now| (0..20).filter(|_| bucket.take(5.0, now)).count();
        assert_eq!(taken(&mut bucket, start), 5);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(400)), 2);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(60)), 5);
        let mut slow = Bucket::full(start);
        assert!(slow.take(0.5, start) && !slow.take(0.5, start + Duration::from_secs(1)));
        assert!(slow.take(0.5, start + Duration::from_secs(2)));
    }
}

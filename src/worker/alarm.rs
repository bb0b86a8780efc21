//! An alarm: the earliest moment at which a stage has something to do.
//!
//! Many set it (settlements, beats, messages of other processes), one loop waits for it. Setting
//! it to a later moment than it already has does nothing.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// The longest wait: a loop turns at least so often, which the watchdog relies on.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    at: Mutex<Option<Instant>>,
    earlier: Notify,
}

impl Alarm {
    /// Makes it ring after `delay` at the latest.
    pub(crate) fn ring_in(&self, delay: Duration) {
        let moment = Instant::now() + delay;
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        if at.is_none_or(|known| moment < known) {
            *at = Some(moment);
            self.earlier.notify_one();
        }
    }

    /// Waits until it rings, which resets it, and returns true; or for a second, and returns false.
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn rung(&self) -> bool {
        timeout(LONGEST_WAIT, self.wait()).await.is_ok()
    }

    async fn wait(&self) {
        loop {
            let at = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
            match at {
                Some(moment) if moment <= Instant::now() => break,
                Some(moment) => tokio::select! {
                    () = sleep_until(moment) => {}
                    () = self.earlier.notified() => {}
                },
                None => self.earlier.notified().await,
            }
        }
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_earliest_moment_counts() {
        let alarm = Alarm::default();
        let start = Instant::now();
        alarm.ring_in(Duration::from_millis(500));
        alarm.ring_in(Duration::from_millis(100));
        alarm.ring_in(Duration::from_millis(300));
        assert!(alarm.rung().await);
        assert_eq!(start.elapsed(), Duration::from_millis(100));
        assert!(!alarm.rung().await, "ringing resets it");
        assert_eq!(start.elapsed(), Duration::from_millis(100) + LONGEST_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_moment_wakes_a_waiter() {
        let alarm = Alarm::default();
        let start = Instant::now();
        alarm.ring_in(Duration::from_millis(900));
        let (rung, ()) = tokio::join!(alarm.rung(), async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            alarm.ring_in(Duration::ZERO);
        });
        assert!(rung);
        assert_eq!(start.elapsed(), Duration::from_millis(10));
    }
}

//! Slow start: after a start, and after the stage was closed, only two calls are in flight; the
//! number doubles with each clean round (docs/contract.md, section 7).
//!
//! What may not be used yet is held back as permits, so that whoever takes a permit knows nothing
//! of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls in flight at the begin.
const FIRST: u32 = 2;

/// See the module; one for each stage. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SlowStart {
    permits: Arc<Semaphore>,
    total: u32,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    size: u32,
    /// Clean calls in a row since it last grew.
    clean: u32,
    held_back: Option<OwnedSemaphorePermit>,
    /// While permits in use are waited for, to be held back.
    narrowing: bool,
    /// No call is held back any more: the worker stops.
    open: bool,
}

impl SlowStart {
    /// A slow_start on so many permits in all.
    pub(crate) fn new(total: u32) -> Self {
        let permits = Arc::new(Semaphore::new(total as usize));
        let size = FIRST.min(total);
        let held_back = Arc::clone(&permits).try_acquire_many_owned(total - size).ok();
        let inner = Inner { size, clean: 0, held_back, narrowing: false, open: false };
        Self { permits, total, inner: Arc::new(Mutex::new(inner)) }
    }

    /// The permits of which calls take one each.
    pub(crate) fn permits(&self) -> &Arc<Semaphore> {
        &self.permits
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call has ended.
    pub(crate) fn ended(&self, clean: bool) {
        let mut inner = self.inner();
        if inner.size == self.total || inner.narrowing {
            return;
        }
        inner.clean = if clean { inner.clean + 1 } else { 0 };
        if inner.clean < inner.size {
            return;
        }
        let size = inner.size.saturating_mul(2).min(self.total);
        let more = (size - inner.size) as usize;
        drop(inner.held_back.as_mut().and_then(|held_back| held_back.split(more)));
        (inner.size, inner.clean) = (size, 0);
    }

    /// The stage is closed: begin again with two calls when it opens. Those in flight end.
    pub(crate) fn narrow(&self) {
        self.narrow_to(FIRST);
    }

    /// Begin again with so many calls, unless there are fewer. Those in flight end.
    pub(crate) fn narrow_to(&self, size: u32) {
        let mut inner = self.inner();
        inner.clean = 0;
        if inner.size <= size || inner.narrowing || inner.open {
            return;
        }
        let back = inner.size - size;
        (inner.size, inner.narrowing) = (size, true);
        drop(inner);
        let slow_start = self.clone();
        // Whoever asks for permits next waits behind this.
        tokio::spawn(async move {
            let permits = Arc::clone(&slow_start.permits).acquire_many_owned(back).await;
            let mut inner = slow_start.inner();
            inner.narrowing = false;
            let (Ok(permits), false) = (permits, inner.open) else { return };
            match &mut inner.held_back {
                Some(held_back) => held_back.merge(permits),
                none => *none = Some(permits),
            }
        });
    }

    /// Returns when no call is in flight and none can begin: for a worker that stops.
    pub(crate) async fn closed(&self) {
        {
            let mut inner = self.inner();
            inner.open = true;
            inner.held_back = None;
        }
        let all = self.permits.acquire_many(self.total).await;
        drop(all.expect("the semaphore is never closed"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(slow_start: &SlowStart) -> usize {
        slow_start.permits().available_permits()
    }

    #[tokio::test]
    async fn it_doubles_with_each_clean_round_up_to_all() {
        let slow_start = SlowStart::new(11);
        assert_eq!(free(&slow_start), 2);
        slow_start.ended(true);
        slow_start.ended(false);
        slow_start.ended(true);
        assert_eq!(free(&slow_start), 2, "no clean round");
        slow_start.ended(true);
        assert_eq!(free(&slow_start), 4);
        (0..4).for_each(|_| slow_start.ended(true));
        assert_eq!(free(&slow_start), 8);
        (0..9).for_each(|_| slow_start.ended(true));
        assert_eq!(free(&slow_start), 11);
        assert_eq!(free(&SlowStart::new(1)), 1);
    }

    #[tokio::test]
    async fn it_begins_again_when_what_is_in_flight_has_ended() {
        let slow_start = SlowStart::new(8);
        (0..6).for_each(|_| slow_start.ended(true));
        let mut in_flight = Arc::clone(slow_start.permits()).try_acquire_many_owned(8).unwrap();
        slow_start.narrow();
        tokio::task::yield_now().await;
        drop(in_flight.split(4));
        tokio::task::yield_now().await;
        assert_eq!(free(&slow_start), 0, "four are still in flight");
        drop(in_flight);
        while slow_start.inner().narrowing {
            tokio::task::yield_now().await;
        }
        assert_eq!(free(&slow_start), 2);
        slow_start.closed().await;
        assert_eq!(free(&slow_start), 8, "all had ended");
    }
}

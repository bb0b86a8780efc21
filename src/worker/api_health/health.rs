//! How this worker itself is: when the API last gave it a good answer, and what is wrong with it alone.
//!
//! The heartbeat tells the others, who by that know a fault of their own from one of the API.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::job::{PerStage, Stage};

/// A good answer of another worker says for so long that the API is well (lua/lib/good.lua).
const LATELY: Duration = Duration::from_secs(3);

/// So long after the last good answer of others a worker counts as ill itself.
const KEPT_ILL: Duration = Duration::from_secs(30);

/// See the module; shared by both stages.
#[derive(Debug, Default)]
pub(crate) struct Health {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    good_at: PerStage<Option<Instant>>,
    /// Why the API answers others and not this worker.
    ill: PerStage<Option<String>>,
    /// When a check of any worker was last understood.
    understood_at: Option<Instant>,
    /// When another worker last had a good answer.
    others_good_at: Option<Instant>,
}

impl Health {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The API gave a good answer.
    pub(crate) fn good(&self, stage: Stage) {
        let mut inner = self.inner();
        *inner.good_at.of_mut(stage) = Some(Instant::now());
        if inner.ill.of_mut(stage).take().is_some() {
            drop(inner);
            tracing::info!("{stage}: this worker is well again");
        }
    }

    /// Others are well, and this worker is not.
    pub(crate) fn fell_ill(&self, stage: Stage, why: &str) {
        let before = self.inner().ill.of_mut(stage).replace(why.to_owned());
        if before.is_none() {
            tracing::error!(
                why,
                "{stage}: the API answers other workers, and not this one: look at its name \
                 resolution, network, proxy, credentials, certificates and open files; it tries one \
                 call at a time until it is well"
            );
        }
    }

    pub(crate) fn is_ill(&self, stage: Stage) -> bool {
        self.inner().ill.of(stage).is_some()
    }

    /// What is wrong with this worker's calls while those of others are answered, in words.
    pub(crate) fn own_fault(&self) -> Option<String> {
        let inner = self.inner();
        let ill = inner.ill.iter().filter_map(|(stage, why)| Some((stage, why.as_ref()?)));
        let words: Vec<String> = ill.map(|(stage, why)| format!("{stage}: {why}")).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }

    /// How long ago the API gave a good answer.
    pub(crate) fn good_ago(&self) -> PerStage<Option<Duration>> {
        let good_at = self.inner().good_at;
        let ago = |stage| good_at.of(stage).map(|at| at.elapsed());
        PerStage { submit: ago(Stage::Submit), poll: ago(Stage::Poll) }
    }

    /// A beat told how long ago a check of any worker was understood, and when another had any good
    /// answer.
    pub(crate) fn heard(
        &self,
        understood_ago: Option<Duration>,
        others_good_ago: Option<Duration>,
    ) {
        let at = |ago: Option<Duration>| ago.and_then(|ago| Instant::now().checked_sub(ago));
        let mut inner = self.inner();
        inner.understood_at = inner.understood_at.max(at(understood_ago));
        inner.others_good_at = inner.others_good_at.max(at(others_good_ago));
        // When nobody is well any more, the fault is hardly this one's own.
        if inner.others_good_at.is_none_or(|at| at.elapsed() > KEPT_ILL) {
            inner.ill = PerStage::default();
        }
    }

    /// Whether another worker had a good answer lately: then a fault that others would have as well is
    /// most likely this one's own.
    pub(crate) fn others_are_well(&self) -> bool {
        self.inner().others_good_at.is_some_and(|at| at.elapsed() < LATELY)
    }

    /// How long ago a check of any worker was understood, as far as this one knows.
    pub(crate) fn understood_ago(&self) -> Option<Duration> {
        let inner = self.inner();
        inner.understood_at.max(inner.good_at.poll).map(|at| at.elapsed())
    }
}

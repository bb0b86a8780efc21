//! Every script on its own: what it does to the whole key space, what it answers, and that a
//! repeated call (its first reply was lost) answers the same and changes nothing.

mod admit;
mod breaker;
mod by_operators;
mod damage;
mod held;
mod leases;
mod operate;
mod places;
mod poll;
mod probes;
mod push;
mod push_ended;
mod refusals;
mod submit;

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

use expect_test::Expect;
use reelq::job::{Claim, Entry, UnknownFields};
use reelq::queue::{
    Admission, Claimant, Hands, Lost, Move, PollClaim, RuledQueue, Settled, Settlement, SubmitClaim,
};

use super::support::moves::{accept, complete, expire, fail, refused, repoll, requeue, unconfirm};
use super::support::{TestQueue, id, job};

const NOW: u64 = 1_800_000_000_000;
/// A queue whose clock stands, at `NOW` plus some milliseconds.
///
/// Every claim has a number of its own.
struct Scene(TestQueue, AtomicU64);

impl Scene {
    async fn new() -> Self {
        let scene = Self(TestQueue::start().await, AtomicU64::new(1));
        scene.0.queue.create_group().await.unwrap();
        scene
    }

    fn at(&self, after_ms: u64) -> RuledQueue {
        self.0.queue.at(NOW + after_ms)
    }

    /// Enqueues a job, which then waits.
    async fn waiting(&self, name: &str) {
        assert_eq!(self.at(0).enqueue_many(&[job(name)]).await.unwrap(), [Admission::Waiting]);
    }

    /// A job in the hands of `w1` to be submitted, under claim 1, claimed at `after_ms`.
    async fn submitting(&self, name: &str, after_ms: u64) {
        self.waiting(name).await;
        assert_eq!(self.claim_submits(after_ms).await.len(), 1);
    }

    /// The next claim of this worker.
    fn claimant(&self, worker: &'static str) -> Claimant<'static> {
        let number = self.1.fetch_add(1, Ordering::Relaxed);
        Claimant { worker, limit: 100, number, rate: None }
    }

    async fn claim_submits(&self, after_ms: u64) -> Vec<SubmitClaim> {
        let queue = self.at(after_ms);
        queue.claim_submits(self.claimant("w1")).await.unwrap().0.jobs
    }

    async fn claim_polls(&self, after_ms: u64) -> Vec<PollClaim> {
        self.at(after_ms).claim_polls(self.claimant("w1")).await.unwrap().jobs
    }

    /// A job that was accepted at 100 ms, to be checked at 1100 ms.
    async fn polling(&self, name: &str) {
        self.submitting(name, 0).await;
        assert_eq!(self.settle(100, name, 1, accept("w-1")).await, Settled::Done);
    }

    async fn settle(&self, after_ms: u64, name: &str, claim: u64, to: Move) -> Settled {
        let settlement = Settlement { id: id(name), claim: Claim(claim), to };
        self.at(after_ms).settle("w1", &[settlement]).await.unwrap()[0]
    }

    /// Settles twice: the second call answers the same and changes nothing.
    async fn settle_twice(
        &self,
        after_ms: u64,
        name: &str,
        claim: u64,
        to: Move,
        expected: Settled,
    ) -> String {
        self.twice(expected, async || self.settle(after_ms, name, claim, to.clone()).await).await
    }

    /// Calls twice: the second call answers the same and changes nothing. Returns the dump.
    async fn twice<T: PartialEq + Debug>(&self, expected: T, call: impl AsyncFn() -> T) -> String {
        assert_eq!(call().await, expected);
        let dump = self.0.dump().await;
        assert_eq!(call().await, expected, "a repeated call answers as the first did");
        assert_eq!(self.0.dump().await, dump, "a repeated call changes nothing");
        dump
    }

    /// Settles, and finds that nothing was changed.
    async fn refused(&self, after_ms: u64, name: &str, claim: u64, to: Move, expected: Settled) {
        let before = self.0.dump().await;
        assert_eq!(self.settle(after_ms, name, claim, to).await, expected);
        assert_eq!(self.0.dump().await, before, "a refusal changes nothing");
    }

    /// An entry on the inbox stream, delivered to `w1`.
    async fn delivered(&self, fields: &[(&str, &str)]) -> (String, Entry) {
        let mut words = vec!["XADD", "reelq:{video}:jobs", "*"];
        words.extend(fields.iter().flat_map(|(name, value)| [*name, *value]));
        let entry_id: String = self.0.command(&words).await;
        let _delivered: redis::Value = self
            .0
            .command(&[
                "XREADGROUP",
                "GROUP",
                "workers",
                "w1",
                "STREAMS",
                "reelq:{video}:jobs",
                ">",
            ])
            .await;
        let bytes = |text: &str| text.as_bytes().to_vec();
        let fields = fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
        (entry_id, Entry::read(fields, UnknownFields::Reject))
    }

    async fn admit(&self, free: usize, entries: &[(String, Entry)]) -> Vec<Admission> {
        self.admit_as(1, free, entries).await
    }

    async fn admit_as(
        &self,
        number: u64,
        free: usize,
        entries: &[(String, Entry)],
    ) -> Vec<Admission> {
        let hands = Hands { worker: "w1", free, number };
        self.at(0).admit(hands, entries).await.unwrap().admissions
    }

    /// Takes back the leases that have run out.
    async fn reclaim(&self, after_ms: u64) -> usize {
        self.at(after_ms).reclaim(Lost::Overdue).await.unwrap().taken
    }
}

/// Shows a dump without the parts that are beside the point of most tests.
fn check(dump: &str, expected: Expect) {
    let beside = ["body:", "jobs", "counters", "claimed:"];
    let mut shown = String::new();
    let mut skip = false;
    for line in dump.lines() {
        if !line.starts_with(' ') {
            skip = beside.iter().any(|name| line.starts_with(name));
        }
        if !skip {
            shown.push_str(line);
            shown.push('\n');
        }
    }
    expected.assert_eq(&shown);
}

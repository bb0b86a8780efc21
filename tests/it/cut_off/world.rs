//! A queue with two workers: `w1`, whose call is cut off, and `w2`, which does what workers do all
//! the time and finds whatever was left. Every POST that they would send is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redis::streams::{StreamAutoClaimReply, StreamId};
use reelq::job::{Claim, Entry, EntryFields, JobId, Millis, Stage, UnknownFields};
use reelq::queue::{
    Admission, Beat, BreakerEvent, Claimant, ConnectOptions, Hands, Lost, Move, Queue, QueueError,
    RuledQueue, Rules, Settlement,
};

use super::judge::{has_ended, is_busy, record};
use super::scissors::Scissors;
use crate::support::moves::{accept, complete};
use crate::support::{RULES, TestQueue, id, report_of, request};

pub(crate) const START: u64 = 1_800_000_000_000;
pub(crate) const LEASE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY_MS: u64 = 86_400_000;
const WORLD_RULES: Rules = Rules {
    lease: LEASE,
    completed_retention: HOUR,
    failed_retention: HOUR,
    max_age: Duration::from_millis(DAY_MS),
    backoff_max: LEASE,
    poll_max: LEASE,
    ..RULES
};
const PREFIX: &str = "reelq:{video}:";
/// After so many rounds of half a minute all leases and graces are over.
const SOON: u32 = 8;

/// What a worker holds: a POST or a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Post,
    Check,
}

pub(crate) struct World {
    pub(crate) queue: TestQueue,
    pub(crate) scissors: Scissors,
    /// The queue behind the scissors.
    pub(crate) cut: RuledQueue,
    pub(crate) now: u64,
    pub(crate) number: u64,
    /// POSTs sent so far, by job.
    pub(crate) posts: BTreeMap<String, u64>,
    /// What `w1` holds, with the claim.
    pub(crate) held: Vec<(String, Claim, Hold)>,
    /// Entries that `w1` has read.
    pub(crate) entries: Vec<(String, Entry)>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let queue = TestQueue::start().await;
        let scissors = Scissors::start(&queue.url).await;
        let name = reelq::job::QueueName::new("video").unwrap();
        let cut = Queue::connect(ConnectOptions::new(scissors.url()), &name).await.unwrap();
        let cut = cut.with_rules(WORLD_RULES);
        Self {
            queue,
            scissors,
            cut,
            now: START,
            number: 0,
            posts: BTreeMap::new(),
            held: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// An empty queue.
    pub(crate) async fn reset(&mut self) {
        let _: () = self.queue.command(&["FLUSHALL"]).await;
        self.queue.queue.create_group().await.unwrap();
        self.now = START;
        self.posts.clear();
        self.held.clear();
        self.entries.clear();
    }

    /// The queue at the present time, without scissors.
    pub(crate) fn at_now(&self) -> RuledQueue {
        self.queue.queue.with_rules(WORLD_RULES).at(self.now)
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    pub(crate) fn claimant(&self, worker: &'static str) -> Claimant<'static> {
        Claimant { worker, limit: 100, number: self.number, rate: None }
    }

    pub(crate) async fn enqueue(&self, ids: &[String], not_before: Option<u64>) {
        let fields = EntryFields { not_before: not_before.map(Millis), ..EntryFields::default() };
        let jobs: Vec<_> = ids.iter().map(|it| (request(it), fields.clone())).collect();
        self.at_now().enqueue_many(&jobs).await.unwrap();
    }

    /// Puts entries on the inbox, which `w1` reads.
    pub(crate) async fn deliver(&mut self, ids: &[String]) {
        for id in ids {
            let body = request(id).into_body();
            let jobs = format!("{PREFIX}jobs");
            let add: [&[u8]; 5] = [b"XADD", jobs.as_bytes(), b"*", b"job", &body];
            let entry_id: String = self.queue.raw_command(add).await;
            let entry = Entry::read(vec![(b"job".to_vec(), body)], UnknownFields::Reject);
            self.entries.push((entry_id, entry));
        }
        let jobs = format!("{PREFIX}jobs");
        let read = ["XREADGROUP", "GROUP", "workers", "w1", "STREAMS", &jobs, ">"];
        let _: redis::Value = self.queue.command(&read).await;
    }

    /// Notes a POST, which begins as soon as a worker has the job.
    fn begin(&mut self, id: &JobId) {
        *self.posts.entry(id.to_string()).or_default() += 1;
    }

    /// Lets `w1` claim what is due to be submitted.
    pub(crate) async fn claim_submits(
        &mut self,
        queue: &RuledQueue,
        rate: Option<f64>,
    ) -> Result<String, QueueError> {
        let claimant = Claimant { rate, ..self.claimant("w1") };
        let claimed = queue.claim_submits(claimant).await?.0;
        for job in claimed.jobs {
            self.begin(&job.id);
            self.held.push((job.id.to_string(), job.claim, Hold::Post));
        }
        Ok(String::new())
    }

    /// Lets `w1` claim what is due to be checked.
    pub(crate) async fn claim_polls(
        &mut self,
        queue: &RuledQueue,
        rate: Option<f64>,
    ) -> Result<String, QueueError> {
        let claimant = Claimant { rate, ..self.claimant("w1") };
        for job in queue.claim_polls(claimant).await?.jobs {
            self.held.push((job.id.to_string(), job.claim, Hold::Check));
        }
        Ok(String::new())
    }

    /// Lets `w1` admit what it has read.
    pub(crate) async fn admit(
        &mut self,
        queue: &RuledQueue,
        free: usize,
    ) -> Result<String, QueueError> {
        let hands = Hands { worker: "w1", free, number: self.number };
        let admitted = queue.admit(hands, &self.entries).await?.admissions;
        for (index, admission) in admitted.iter().enumerate() {
            if *admission == Admission::Leased {
                let job = self.entries[index].1.id.clone().unwrap();
                self.begin(&job);
                self.held.push((job.to_string(), Claim(1), Hold::Post));
            }
        }
        Ok(format!("{admitted:?}"))
    }

    /// Lets `w1` settle jobs, each under the claim that its record has.
    pub(crate) async fn settle(
        &mut self,
        queue: &RuledQueue,
        ids: &[String],
        to: &Move,
    ) -> Result<String, QueueError> {
        let mut settlements = Vec::new();
        for name in ids {
            let claim =
                record(&self.queue, name).await.get("claim").map_or("0".into(), String::clone);
            let claim = Claim(claim.parse().unwrap());
            settlements.push(Settlement { id: id(name), claim, to: to.clone() });
        }
        let settled = queue.settle("w1", &settlements).await?;
        self.held.clear();
        Ok(format!("{settled:?}"))
    }

    /// Settles without scissors.
    pub(crate) async fn settle_now(&mut self, ids: &[String], to: &Move) {
        let queue = self.at_now();
        self.settle(&queue, ids, to).await.unwrap();
    }

    pub(crate) async fn reclaim(
        &self,
        queue: &RuledQueue,
        lost: Lost<'_>,
    ) -> Result<String, QueueError> {
        queue.reclaim(lost).await.map(|_| String::new())
    }

    pub(crate) async fn report(
        &self,
        queue: &RuledQueue,
        stage: Stage,
        event: BreakerEvent,
        job: &JobId,
    ) -> Result<String, QueueError> {
        queue.report(report_of(stage, event, job)).await.map(|_| String::new())
    }

    /// Lets `w1` do its work with what it holds: each POST is accepted, each check finds the video.
    pub(crate) async fn go_on(&mut self) {
        for (name, claim, hold) in std::mem::take(&mut self.held) {
            let to = match hold {
                Hold::Post => accept(&format!("w1-{name}")),
                Hold::Check => complete(),
            };
            let settlement = Settlement { id: id(&name), claim, to };
            self.at_now().settle("w1", &[settlement]).await.unwrap();
        }
    }

    /// What `w2` does all the time, until nothing is left to do; then the leases run out, the graces
    /// end, and at last the deadlines.
    ///
    /// What the API has, or what has ended, is in `bought`: it is not sent again, and ends without
    /// waiting for a deadline.
    pub(crate) async fn live_on(&mut self, bought: &BTreeSet<String>) -> Result<(), String> {
        for round in 0..14 {
            self.turn(bought).await?;
            if !is_busy(&self.queue).await {
                return Ok(());
            }
            if round == SOON {
                for id in bought {
                    if !has_ended(&record(&self.queue, id).await) {
                        return Err(format!("{id} was accepted, and is forgotten for long"));
                    }
                }
            }
            self.now += if round < SOON { 31_000 } else { DAY_MS };
        }
        Err("something is never done".to_owned())
    }

    async fn turn(&mut self, bought: &BTreeSet<String>) -> Result<(), String> {
        let queue = self.at_now();
        queue.tick(Beat::of("w2")).await.unwrap();
        self.adopt(&queue).await;
        self.next_number();
        let claimed = queue.claim_submits(self.claimant("w2")).await.unwrap().0;
        let probed = claimed.is_probe;
        for job in claimed.jobs {
            if bought.contains(job.id.as_str()) {
                return Err(format!("{} is bought again", job.id));
            }
            self.begin(&job.id);
            let to = accept(&format!("w2-{}-{}", job.id, self.posts[job.id.as_str()]));
            let settlement = Settlement { id: job.id.clone(), claim: job.claim, to };
            queue.settle("w2", &[settlement]).await.unwrap();
            if probed {
                self.report(&queue, Stage::Submit, BreakerEvent::Alive, &job.id).await.unwrap();
            }
        }
        self.now += 2000;
        let queue = self.at_now();
        let claimed = queue.claim_polls(self.claimant("w2")).await.unwrap();
        for job in claimed.jobs {
            let settlement = Settlement { id: job.id.clone(), claim: job.claim, to: complete() };
            queue.settle("w2", &[settlement]).await.unwrap();
            if claimed.is_probe {
                self.report(&queue, Stage::Poll, BreakerEvent::Alive, &job.id).await.unwrap();
            }
        }
        self.reclaim(&queue, Lost::Overdue).await.unwrap();
        Ok(())
    }

    /// Admits what lies unadmitted with whatever reader.
    async fn adopt(&self, queue: &RuledQueue) {
        let jobs = format!("{PREFIX}jobs");
        let claim = ["XAUTOCLAIM", &jobs, "workers", "w2", "0", "0-0", "COUNT", "100"];
        let found: StreamAutoClaimReply = self.queue.command(&claim).await;
        let entry = |entry: StreamId| {
            let body: Vec<u8> = redis::from_redis_value(entry.map["job"].clone()).unwrap();
            (entry.id, Entry::read(vec![(b"job".to_vec(), body)], UnknownFields::Reject))
        };
        let entries: Vec<_> = found.claimed.into_iter().map(entry).collect();
        if !entries.is_empty() {
            let hands = Hands { worker: "w2", free: 0, number: 0 };
            queue.admit(hands, &entries).await.unwrap();
        }
    }
}

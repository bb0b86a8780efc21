//! Random sequences of events against real Redis and against a small model of the life cycle.
//! After every step the whole key space agrees with the model, and every call made twice in a row
//! answers the same and changes nothing.
//!
//! A failing sequence is shrunk and its seed kept in `tests/it/model/regressions.txt`, which is
//! run first. `PROPTEST_CASES` sets how many sequences are tried.

mod life;
mod seen;
mod steps;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestCaseError, TestRunner};
use reelq::job::{Claim, EntryFields, ErrorCode, Fault, Request};
use reelq::queue::{
    Admission, Claimant, End, Hands, Lost, Move, Operated, Push, PushOutcome, PushTrust,
    RuledQueue, Rules, Settled, Settlement, Source,
};

use self::life::{
    GRACE_MS, LEASE_MS, MAX_AGE_MS, MAX_UNCONFIRMED, Model, Outcome, PUSHED_URL, REFUSED_GRACE_MS,
    SENT_AGO_MS, STREAK, VIDEO_URL,
};
use self::steps::{IDS, Step, WORKERS, step};
use super::support::{RULES, TestQueue, id};

const START: u64 = 1_800_000_000_000;
const MODEL_RULES: Rules = Rules {
    lease: Duration::from_millis(LEASE_MS),
    max_age: Duration::from_millis(MAX_AGE_MS),
    unconfirmed_grace: Duration::from_millis(GRACE_MS),
    max_unconfirmed: MAX_UNCONFIRMED,
    refused_grace: Duration::from_millis(REFUSED_GRACE_MS),
    completed_retention: Duration::from_secs(3600),
    failed_retention: Duration::from_secs(3600),
    ..RULES
};
/// The queue, its model, and every claim that was given.
struct Run<'a> {
    queue: &'a TestQueue,
    model: Model,
    claims: Vec<(String, u64, &'static str)>,
    number: u64,
}

impl Run<'_> {
    fn at_now(&self) -> RuledQueue {
        self.queue.queue.with_rules(MODEL_RULES).at(self.model.now)
    }

    async fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Admit { id, body, hands, later_ms, ends_ms } => {
                let hands = hands.map(|it| WORKERS[it]);
                self.admit(IDS[*id], *body, hands, *later_ms, *ends_ms).await
            }
            Step::ClaimSubmits { worker, limit } => {
                self.claim(WORKERS[*worker], *limit, true).await
            }
            Step::ClaimPolls { worker, limit } => self.claim(WORKERS[*worker], *limit, false).await,
            Step::Settle { back, outcome } => self.settle(*back, outcome).await,
            Step::ReclaimOverdue => self.reclaim(None).await,
            Step::ReclaimDead { worker } => self.reclaim(Some(WORKERS[*worker])).await,
            Step::Pause(paused) => {
                self.model.paused = *paused;
                let key = "reelq:{video}:paused";
                let words = if *paused { vec!["SET", key, "holiday"] } else { vec!["DEL", key] };
                let _: redis::Value = self.queue.command(&words).await;
                Ok(())
            }
            Step::Cancel { id: index } => {
                let (expected, ids) = (self.model.cancel(IDS[*index]), [id(IDS[*index])]);
                let queue = self.at_now();
                twice(expected, async || queue.cancel(&ids, None).await.unwrap().remove(0)).await
            }
            Step::Retry { id: index, resubmit } => {
                let expected = self.model.retry(IDS[*index], *resubmit);
                let (queue, ids) = (self.at_now(), [id(IDS[*index])]);
                twice(expected, async || {
                    queue.retry(&ids, *resubmit, false).await.unwrap().remove(0)
                })
                .await
            }
            Step::Resolve { id: index, finding } => {
                let expected = self.model.resolve(IDS[*index], finding);
                let (queue, id) = (self.at_now(), id(IDS[*index]));
                twice(expected, async || queue.resolve(&id, finding).await.unwrap()).await
            }
            Step::Push { id: index, user, trust } => self.push(IDS[*index], *user, *trust).await,
            Step::Wait { ms } => {
                self.model.now += ms;
                Ok(())
            }
        }
    }

    /// Admits by the stream when a worker has free hands, else directly.
    async fn admit(
        &mut self,
        name: &str,
        body: usize,
        hands: Option<&'static str>,
        later_ms: Option<u64>,
        ends_ms: Option<u64>,
    ) -> Result<(), String> {
        let not_before = later_ms.map(|ms| self.model.now + ms);
        let expires_at = ends_ms.map(|ms| self.model.now + ms);
        let request = Request::new(id(name), "acme", "birthday", format!("user-{body}"));
        let request = request.build().unwrap();
        let fields = EntryFields {
            not_before: not_before.map(reelq::job::Millis),
            expires_at: expires_at.map(reelq::job::Millis),
            ..EntryFields::default()
        };
        let expected = self.model.admit(name, body, hands, not_before, expires_at);
        let queue = self.at_now();
        let admitted = match hands {
            None => queue.enqueue(&request, &fields).await.unwrap(),
            Some(worker) => {
                // The entry need not be on the stream: that tells a repetition, which is tested
                // with the script itself.
                let entry = reelq::job::Entry {
                    id: Some(id(name)),
                    body: request.body().to_vec(),
                    request: Ok(request),
                    fields,
                };
                self.number += 1;
                let hands = Hands { worker, free: 1, number: self.number };
                queue.admit(hands, &[(String::new(), entry)]).await.unwrap().admissions[0]
            }
        };
        if admitted == Admission::Leased {
            self.claims.push((name.to_owned(), 1, hands.unwrap_or_default()));
        }
        same(admitted, expected)
    }

    async fn claim(
        &mut self,
        worker: &'static str,
        limit: usize,
        submits: bool,
    ) -> Result<(), String> {
        self.number += 1;
        let claimant = Claimant { worker, limit, number: self.number, rate: None };
        let expected = if submits {
            self.model.claim_submits(worker, limit)
        } else {
            self.model.claim_polls(worker, limit)
        };
        let queue = self.at_now();
        let claim = async || -> Vec<(String, u64)> {
            if submits {
                let claimed = queue.claim_submits(claimant).await.unwrap().0;
                claimed.jobs.into_iter().map(|job| (job.id.to_string(), job.claim.0)).collect()
            } else {
                let claimed = queue.claim_polls(claimant).await.unwrap();
                claimed.jobs.into_iter().map(|job| (job.id.to_string(), job.claim.0)).collect()
            }
        };
        same(claim().await, expected.clone())?;
        // A claim that took nothing left nothing to be repeated.
        if !expected.is_empty() {
            same(claim().await, expected.clone())?;
        }
        self.claims.extend(expected.into_iter().map(|(id, claim)| (id, claim, worker)));
        Ok(())
    }

    async fn settle(&mut self, back: usize, outcome: &Outcome) -> Result<(), String> {
        let Some(index) = self.claims.len().checked_sub(1 + back) else { return Ok(()) };
        let (name, claim, worker) = self.claims[index].clone();
        let expected = self.model.settle(&name, claim, outcome);
        let settlement = Settlement { id: id(&name), claim: Claim(claim), to: move_of(outcome) };
        let queue = self.at_now();
        let settle = async || {
            let settlement = std::slice::from_ref(&settlement);
            queue.settle(worker, settlement).await.unwrap()[0]
        };
        same(settle().await, expected)?;
        // Only what was recorded can be asked for again: a second acceptance is one too many
        // each time it is told.
        if matches!(expected, Settled::Done | Settled::Refused) {
            same(settle().await, expected)?
        }
        Ok(())
    }

    async fn push(&mut self, name: &str, user: usize, trust: PushTrust) -> Result<(), String> {
        let expected = self.model.push(name, user, trust);
        let push = Push {
            id: id(name),
            user_id: format!("user-{user}"),
            video_url: PUSHED_URL.to_owned(),
        };
        let queue = self.at_now();
        same(queue.push(&push, trust).await.unwrap(), expected)?;
        let is_known = expected == PushOutcome::Completed;
        let again = if is_known { PushOutcome::Known } else { expected };
        same(queue.push(&push, trust).await.unwrap(), again)
    }

    async fn reclaim(&mut self, dead: Option<&'static str>) -> Result<(), String> {
        let expected = self.model.reclaim(dead);
        let lost = dead.map_or(Lost::Overdue, |name| Lost::Worker { name, skip: 0 });
        let queue = self.at_now();
        same(queue.reclaim(lost).await.unwrap().taken, expected)?;
        same(queue.reclaim(lost).await.unwrap().taken, 0)
    }
}

/// Calls twice for an operator; why something is refused is for people.
async fn twice(expected: Operated, call: impl AsyncFn() -> Operated) -> Result<(), String> {
    for _ in 0..2 {
        let answer = match call().await {
            Operated::Refused(_) => Operated::Refused(String::new()),
            answer @ (Operated::Done { .. } | Operated::Gone) => answer,
        };
        same(&answer, &expected)?;
    }
    Ok(())
}

fn move_of(outcome: &Outcome) -> Move {
    let fault = |code| Fault::new(code, "why");
    let finish = |end| Move::Finish { end, source: Source::Poll };
    match outcome {
        Outcome::Accept { transaction, delay_ms } => Move::Accept {
            whilter_request_id: transaction.clone(),
            first_check_in: Duration::from_millis(*delay_ms),
        },
        Outcome::Requeue { delay_ms, spends, refused } => Move::Requeue {
            delay: Duration::from_millis(*delay_ms),
            spends_attempt: *spends,
            event: "retry: 500".to_owned(),
            refusal: refused.then(|| fault(ErrorCode::ApiRefused)),
        },
        Outcome::Unconfirm { hold } => {
            let sent_ago = Duration::from_millis(SENT_AGO_MS);
            Move::Unconfirm { event: "unconfirmed: time-out".to_owned(), hold: *hold, sent_ago }
        }
        Outcome::Repoll { delay_ms, streak } => Move::Repoll {
            delay: Duration::from_millis(*delay_ms),
            streak: if *streak { STREAK.to_owned() } else { String::new() },
            event: "poll".to_owned(),
        },
        Outcome::Complete => {
            finish(End::Completed { video_url: Some(VIDEO_URL.to_owned()), image_url: None })
        }
        Outcome::Fail => finish(End::Failed(fault(ErrorCode::GenerationFailed))),
        Outcome::Expire => finish(End::Expired(fault(ErrorCode::PollDeadline))),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(seen: T, expected: T) -> Result<(), String> {
    if seen == expected { Ok(()) } else { Err(format!("answered {seen:?}, not {expected:?}")) }
}

async fn play(queue: &TestQueue, steps: &[Step]) -> Result<(), String> {
    let _: () = queue.command(&["FLUSHALL"]).await;
    let model = Model { now: START, ..Model::default() };
    let mut run = Run { queue, model, claims: Vec::new(), number: 0 };
    for (index, step) in steps.iter().enumerate() {
        let taken = run.take(step).await;
        let agreed = match taken {
            Ok(()) => seen::compare(queue, &run.model).await,
            Err(why) => Err(why),
        };
        agreed.map_err(|why| format!("after step {index}, {step:?}: {why}"))?;
    }
    Ok(())
}

#[test]
fn redis_and_the_model_agree_after_every_step() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let queue = runtime.block_on(TestQueue::start());
    let config = ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/model/regressions.txt"
        )))),
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let ended = TestRunner::new(config).run(&vec(step(), 1..40), |steps| {
        runtime.block_on(play(&queue, &steps)).map_err(TestCaseError::fail)
    });
    if let Err(why) = ended {
        panic!("{why}\n(its seed is in tests/it/model/regressions.txt)");
    }
}

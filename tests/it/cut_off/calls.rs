//! Which call is cut off.

use std::time::Duration;

use reelq::job::{EntryFields, JobId, Stage};
use reelq::queue::{Beat, BreakerEvent, Finding, Lost, Push, PushTrust, QueueError, RuledQueue};

use super::states::State;
use super::world::{DAY_MS, LEASE, World};
use crate::support::moves::{
    accept, complete, expire, forgotten, refused, repoll, requeue, unconfirm,
};
use crate::support::{id, request};

/// The call that is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Enqueue,
    AdmitIntoHands,
    AdmitToWait,
    ClaimSubmits,
    ClaimSubmitsRated,
    /// When their time is over.
    ClaimSubmitsLate,
    ClaimPolls,
    ClaimPollsRated,
    Accept,
    Requeue,
    RequeueRefused,
    Unconfirm,
    Hold,
    Repoll,
    RepollStreak,
    Complete,
    Fail,
    Expire,
    ReclaimOverdue,
    ReclaimDead,
    Cancel,
    Retry,
    Resubmit,
    ResolveAccepted,
    ResolveReady,
    ResolveGivenUp,
    Halt,
    Break,
    Limit,
    Open,
    Tick,
    /// After the server's clock went back by an hour.
    TickBack,
    Forget,
    /// A push that anybody may have sent.
    PushByAnybody,
    PushByApi,
    /// The same, and its URL is believed.
    PushBelieved,
}

impl Call {
    pub(crate) const ALL: [Self; 36] = [
        Self::Enqueue,
        Self::AdmitIntoHands,
        Self::AdmitToWait,
        Self::ClaimSubmits,
        Self::ClaimSubmitsRated,
        Self::ClaimSubmitsLate,
        Self::ClaimPolls,
        Self::ClaimPollsRated,
        Self::Accept,
        Self::Requeue,
        Self::RequeueRefused,
        Self::Unconfirm,
        Self::Hold,
        Self::Repoll,
        Self::RepollStreak,
        Self::Complete,
        Self::Fail,
        Self::Expire,
        Self::ReclaimOverdue,
        Self::ReclaimDead,
        Self::Cancel,
        Self::Retry,
        Self::Resubmit,
        Self::ResolveAccepted,
        Self::ResolveReady,
        Self::ResolveGivenUp,
        Self::Halt,
        Self::Break,
        Self::Limit,
        Self::Open,
        Self::Tick,
        Self::TickBack,
        Self::Forget,
        Self::PushByAnybody,
        Self::PushByApi,
        Self::PushBelieved,
    ];

    /// Whether the call can be made in that state at all.
    pub(crate) fn is_possible(self, state: State) -> bool {
        match self {
            Self::Enqueue => state != State::Entry,
            Self::AdmitIntoHands | Self::AdmitToWait => state == State::Entry,
            Self::ClaimSubmits
            | Self::ClaimSubmitsRated
            | Self::ClaimSubmitsLate
            | Self::ClaimPolls
            | Self::ClaimPollsRated
            | Self::Accept
            | Self::Requeue
            | Self::RequeueRefused
            | Self::Unconfirm
            | Self::Hold
            | Self::Repoll
            | Self::RepollStreak
            | Self::Complete
            | Self::Fail
            | Self::Expire
            | Self::ReclaimOverdue
            | Self::ReclaimDead
            | Self::Cancel
            | Self::Retry
            | Self::Resubmit
            | Self::ResolveAccepted
            | Self::ResolveReady
            | Self::ResolveGivenUp
            | Self::PushByAnybody
            | Self::PushByApi
            | Self::PushBelieved => !matches!(state, State::Nothing | State::Entry),
            Self::Halt | Self::Break | Self::Limit | Self::Open => {
                matches!(state, State::Waiting | State::Halted | State::Polling)
            }
            Self::Tick | Self::TickBack => true,
            Self::Forget => matches!(state, State::Entry | State::Waiting),
        }
    }

    /// Whether a repetition must answer as the uncut call did. A claim gives what it took before it
    /// was cut off; who enqueues without an entry learns that it is a duplicate, and who pushes that the
    /// video is known.
    pub(crate) fn answers_again(self) -> bool {
        !matches!(self, Self::Enqueue | Self::PushByAnybody | Self::PushByApi | Self::PushBelieved)
    }

    /// Whether it is taken from the holder of the job only.
    pub(crate) fn is_fenced(self) -> bool {
        matches!(self, Self::Fail | Self::Expire | Self::RequeueRefused | Self::Unconfirm)
    }

    /// Whether it may lead to a POST of what the API has.
    pub(crate) fn buys_again(self) -> bool {
        matches!(self, Self::Resubmit | Self::Retry)
    }

    /// How much later than the jobs came into their state.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other calls are made at once")]
    pub(crate) fn later_ms(self) -> u64 {
        match self {
            Self::ClaimSubmits
            | Self::ClaimSubmitsRated
            | Self::ClaimPolls
            | Self::ClaimPollsRated => 31_000,
            Self::ClaimSubmitsLate => 2 * DAY_MS,
            Self::ReclaimOverdue | Self::ReclaimDead => {
                u64::try_from(LEASE.as_millis()).unwrap() + 1
            }
            _ => 10,
        }
    }

    /// Makes the call.
    pub(crate) async fn make(
        self,
        world: &mut World,
        queue: &RuledQueue,
        ids: &[String],
    ) -> Result<String, QueueError> {
        let job_ids: Vec<_> = ids.iter().map(|it| id(it)).collect();
        let said = |answers| format!("{answers:?}");
        match self {
            Self::Enqueue => {
                let jobs: Vec<_> =
                    ids.iter().map(|it| (request(it), EntryFields::default())).collect();
                queue.enqueue_many(&jobs).await.map(|it| format!("{it:?}"))
            }
            Self::AdmitIntoHands => world.admit(queue, 100).await,
            Self::AdmitToWait => world.admit(queue, 0).await,
            Self::ClaimSubmits | Self::ClaimSubmitsLate => world.claim_submits(queue, None).await,
            Self::ClaimSubmitsRated => world.claim_submits(queue, Some(1000.0)).await,
            Self::ClaimPolls => world.claim_polls(queue, None).await,
            Self::ClaimPollsRated => world.claim_polls(queue, Some(1000.0)).await,
            Self::Accept => world.settle(queue, ids, &accept("w-1")).await,
            Self::Requeue => world.settle(queue, ids, &requeue()).await,
            Self::RequeueRefused => world.settle(queue, ids, &refused()).await,
            Self::Unconfirm => world.settle(queue, ids, &unconfirm(false)).await,
            Self::Hold => world.settle(queue, ids, &unconfirm(true)).await,
            Self::Repoll => world.settle(queue, ids, &repoll("")).await,
            Self::RepollStreak => world.settle(queue, ids, &repoll("not-found 2 1000")).await,
            Self::Complete => world.settle(queue, ids, &complete()).await,
            Self::Fail => world.settle(queue, ids, &forgotten()).await,
            Self::Expire => world.settle(queue, ids, &expire()).await,
            Self::ReclaimOverdue => world.reclaim(queue, Lost::Overdue).await,
            Self::ReclaimDead => world.reclaim(queue, Lost::Worker { name: "w1", skip: 0 }).await,
            Self::Cancel => queue.cancel(&job_ids, None).await.map(said),
            Self::Retry => queue.retry(&job_ids, false, false).await.map(said),
            Self::Resubmit => queue.retry(&job_ids, true, false).await.map(said),
            Self::ResolveAccepted => {
                let finding = Finding::Accepted("w-found".to_owned());
                resolve(queue, &job_ids, &finding).await
            }
            Self::ResolveReady => {
                let finding = Finding::Ready("https://cdn/found.mp4".to_owned());
                resolve(queue, &job_ids, &finding).await
            }
            Self::ResolveGivenUp => {
                let finding = Finding::GivenUp("support knows nothing of it".to_owned());
                resolve(queue, &job_ids, &finding).await
            }
            Self::Halt => {
                world.report(queue, Stage::Submit, BreakerEvent::Halted, &job_ids[0]).await
            }
            Self::Break => {
                world.report(queue, Stage::Poll, BreakerEvent::Broken, &job_ids[0]).await
            }
            Self::Limit => {
                world.report(queue, Stage::Submit, BreakerEvent::Limited, &job_ids[0]).await
            }
            Self::Open => {
                world.report(queue, Stage::Submit, BreakerEvent::Alive, &job_ids[0]).await
            }
            Self::Tick => queue.tick(Beat::of("w1")).await.map(|_| String::new()),
            Self::TickBack => {
                let earlier = Duration::from_secs(3600).as_millis();
                let earlier = world.now - u64::try_from(earlier).unwrap();
                queue.at(earlier).tick(Beat::of("w1")).await.map(|_| String::new())
            }
            Self::Forget => queue.forget_worker("w1").await.map(|()| String::new()),
            Self::PushByAnybody => push(queue, &job_ids, PushTrust::Anybody).await,
            Self::PushByApi => push(queue, &job_ids, PushTrust::Authenticated).await,
            Self::PushBelieved => push(queue, &job_ids, PushTrust::Accept).await,
        }
    }
}

async fn push(queue: &RuledQueue, ids: &[JobId], trust: PushTrust) -> Result<String, QueueError> {
    let mut answers = Vec::new();
    for id in ids {
        let video_url = "https://cdn/pushed.mp4".to_owned();
        let push = Push { id: id.clone(), user_id: "ann".to_owned(), video_url };
        answers.push(queue.push(&push, trust).await?);
    }
    Ok(format!("{answers:?}"))
}

/// Pushes without scissors.
pub(super) async fn push_now(world: &World, ids: &[String], trust: PushTrust) {
    let ids: Vec<_> = ids.iter().map(|it| id(it)).collect();
    push(&world.at_now(), &ids, trust).await.unwrap();
}

async fn resolve(
    queue: &RuledQueue,
    ids: &[JobId],
    finding: &Finding,
) -> Result<String, QueueError> {
    let mut answers = Vec::new();
    for id in ids {
        answers.push(queue.resolve(id, finding).await?);
    }
    Ok(format!("{answers:?}"))
}

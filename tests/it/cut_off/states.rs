//! In which state the jobs are when a call is cut off.

use reelq::job::Stage;
use reelq::queue::{BreakerEvent, Move, PushTrust};

use super::calls::push_now;
use super::world::World;
use crate::support::id;
use crate::support::moves::{
    accept, complete, expire, forgotten, refused, repoll, requeue, unconfirm,
};

/// The state that the jobs are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// There are none.
    Nothing,
    /// Their entries were read by `w1` and not admitted.
    Entry,
    Waiting,
    /// Waiting for an hour.
    Scheduled,
    /// Waiting while the stage is halted, to be probed.
    Halted,
    Submitting,
    /// Submitting for the second time, after a POST that was not answered.
    SentAgain,
    /// Submitting for the third time, refused twice while others were accepted.
    Refused,
    /// Submitting for the fifth time, after four crashes.
    Crashing,
    Unconfirmed,
    Held,
    /// Held, and to be sent once more by an operator's word.
    Resend,
    Polling,
    /// In the hands of `w1`.
    Checking,
    /// Likewise, with a run of bad answers.
    Streak,
    Completed,
    Failed,
    /// The API never had it.
    Rejected,
    Expired,
    Cancelled,
    /// Submitting, and the API has pushed its URL, which is believed.
    Pushed,
    /// Waiting for its next submit, and the API has pushed its URL.
    PushedWaiting,
    /// Expired, and to be checked once more because of a push.
    Announced,
    /// Likewise, in the hands of `w1`.
    CheckingAgain,
}

impl State {
    pub(crate) const ALL: [Self; 24] = [
        Self::Nothing,
        Self::Entry,
        Self::Waiting,
        Self::Scheduled,
        Self::Halted,
        Self::Submitting,
        Self::SentAgain,
        Self::Refused,
        Self::Crashing,
        Self::Unconfirmed,
        Self::Held,
        Self::Resend,
        Self::Polling,
        Self::Checking,
        Self::Streak,
        Self::Completed,
        Self::Failed,
        Self::Rejected,
        Self::Expired,
        Self::Cancelled,
        Self::Pushed,
        Self::PushedWaiting,
        Self::Announced,
        Self::CheckingAgain,
    ];

    /// Brings jobs into this state.
    pub(crate) async fn prepare(self, world: &mut World, ids: &[String]) {
        match self {
            Self::Nothing => {}
            Self::Entry => world.deliver(ids).await,
            Self::Scheduled => world.enqueue(ids, Some(world.now + 3_600_000)).await,
            Self::Waiting => world.enqueue(ids, None).await,
            Self::Halted => {
                world.enqueue(ids, None).await;
                let (queue, first) = (world.at_now(), id(&ids[0]));
                let halted = BreakerEvent::Halted;
                world.report(&queue, Stage::Submit, halted, &first).await.unwrap();
            }
            Self::Submitting => {
                world.enqueue(ids, None).await;
                Self::submit(world).await;
            }
            Self::SentAgain => {
                Box::pin(Self::Unconfirmed.prepare(world, ids)).await;
                world.now += 31_000;
                Self::submit(world).await;
            }
            Self::Refused => Self::refuse_twice(world, ids).await,
            Self::Crashing => {
                Box::pin(Self::Submitting.prepare(world, ids)).await;
                for id in ids {
                    let key = format!("reelq:{{video}}:job:{id}");
                    let _: u64 = world.queue.command(&["HSET", &key, "recoveries", "4"]).await;
                }
            }
            Self::Unconfirmed => Self::Submitting.then(world, ids, &unconfirm(false)).await,
            Self::Held => Self::Submitting.then(world, ids, &unconfirm(true)).await,
            Self::Resend => {
                Box::pin(Self::Held.prepare(world, ids)).await;
                let ids: Vec<_> = ids.iter().map(|it| id(it)).collect();
                world.at_now().retry(&ids, false, false).await.unwrap();
            }
            Self::Polling => Self::Submitting.then(world, ids, &accept("w-1")).await,
            Self::Checking => {
                Box::pin(Self::Polling.prepare(world, ids)).await;
                Self::check(world).await;
            }
            Self::Streak => {
                Self::Checking.then(world, ids, &repoll("not-found 1 1000")).await;
                Self::check(world).await;
            }
            Self::Completed => Self::Checking.then(world, ids, &complete()).await,
            Self::Failed => Self::Checking.then(world, ids, &forgotten()).await,
            Self::Rejected => Self::Submitting.then(world, ids, &forgotten()).await,
            Self::Expired => Self::Checking.then(world, ids, &expire()).await,
            Self::Cancelled => {
                Box::pin(Self::Waiting.prepare(world, ids)).await;
                let ids: Vec<_> = ids.iter().map(|it| id(it)).collect();
                world.at_now().cancel(&ids, None).await.unwrap();
            }
            Self::Pushed | Self::PushedWaiting | Self::Announced | Self::CheckingAgain => {
                self.prepare_pushed(world, ids).await;
            }
        }
        world.now += 10;
    }

    async fn refuse_twice(world: &mut World, ids: &[String]) {
        world.enqueue(ids, None).await;
        for _twice in 0..2 {
            Self::submit(world).await;
            world.settle_now(ids, &refused()).await;
            let other = [format!("other-{}", world.now)];
            world.enqueue(&other, None).await;
            Self::submit(world).await;
            world.settle_now(&other, &accept("w-other")).await;
            world.now += 3000;
        }
        Self::submit(world).await;
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "no other state is pushed")]
    async fn prepare_pushed(self, world: &mut World, ids: &[String]) {
        match self {
            Self::Pushed => {
                Box::pin(Self::Submitting.prepare(world, ids)).await;
                push_now(world, ids, PushTrust::Accept).await;
            }
            Self::PushedWaiting => {
                Box::pin(Self::Submitting.prepare(world, ids)).await;
                push_now(world, ids, PushTrust::Authenticated).await;
                world.settle_now(ids, &requeue()).await;
            }
            Self::CheckingAgain => {
                Box::pin(Self::Announced.prepare(world, ids)).await;
                Self::check(world).await;
            }
            _ => {
                Box::pin(Self::Expired.prepare(world, ids)).await;
                push_now(world, ids, PushTrust::Authenticated).await;
            }
        }
    }

    async fn then(self, world: &mut World, ids: &[String], to: &Move) {
        Box::pin(self.prepare(world, ids)).await;
        world.settle_now(ids, to).await;
    }

    async fn submit(world: &mut World) {
        world.next_number();
        let queue = world.at_now();
        world.claim_submits(&queue, None).await.unwrap();
    }

    async fn check(world: &mut World) {
        world.now += 2000;
        world.next_number();
        let queue = world.at_now();
        world.claim_polls(&queue, None).await.unwrap();
    }
}

//! What can happen to a queue, at random.

use proptest::prelude::*;
use reelq::queue::{Finding, PushTrust};

use super::life::{LEASE_MS, MAX_AGE_MS, Outcome, VIDEO_URL};

pub(super) const IDS: [&str; 4] = ["a", "b", "c", "d"];
pub(super) const WORKERS: [&str; 2] = ["w1", "w2"];

/// What happens next; jobs and workers are numbers in the lists above.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Admit {
        id: usize,
        body: usize,
        hands: Option<usize>,
        later_ms: Option<u64>,
        ends_ms: Option<u64>,
    },
    ClaimSubmits {
        worker: usize,
        limit: usize,
    },
    ClaimPolls {
        worker: usize,
        limit: usize,
    },
    /// Settles one of the claims given so far, counted from the latest.
    Settle {
        back: usize,
        outcome: Outcome,
    },
    ReclaimOverdue,
    ReclaimDead {
        worker: usize,
    },
    Pause(bool),
    Cancel {
        id: usize,
    },
    Retry {
        id: usize,
        resubmit: bool,
    },
    Resolve {
        id: usize,
        finding: Finding,
    },
    Push {
        id: usize,
        user: usize,
        trust: PushTrust,
    },
    Wait {
        ms: u64,
    },
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let delay_ms = prop_oneof![Just(0), Just(1000), Just(45_000)];
    prop_oneof![
        4 => (0..3, delay_ms.clone()).prop_map(|(number, delay_ms)| {
            Outcome::Accept { transaction: format!("w-{number}"), delay_ms }
        }),
        3 => (delay_ms.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(delay_ms, spends, refused)| Outcome::Requeue { delay_ms, spends, refused }),
        3 => any::<bool>().prop_map(|hold| Outcome::Unconfirm { hold }),
        3 => (delay_ms, any::<bool>())
            .prop_map(|(delay_ms, streak)| Outcome::Repoll { delay_ms, streak }),
        3 => Just(Outcome::Complete),
        1 => Just(Outcome::Fail),
        2 => Just(Outcome::Expire),
    ]
}

fn finding() -> impl Strategy<Value = Finding> {
    prop_oneof![
        (0..3).prop_map(|number| Finding::Accepted(format!("w-{number}"))),
        Just(Finding::Ready(VIDEO_URL.to_owned())),
        Just(Finding::GivenUp("the account shows no such request".to_owned())),
    ]
}

fn trust() -> impl Strategy<Value = PushTrust> {
    prop_oneof![
        2 => Just(PushTrust::Anybody),
        1 => Just(PushTrust::Authenticated),
        1 => Just(PushTrust::Accept),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let (worker, id) = (0..WORKERS.len(), 0..IDS.len());
    let later = prop::option::weighted(0.2, prop_oneof![Just(0), Just(40_000)]);
    let ends = prop::option::weighted(0.2, prop_oneof![Just(0), Just(20_000), Just(90_000)]);
    prop_oneof![
        4 => (id.clone(), 0..2_usize, prop::option::of(worker.clone()), later, ends)
            .prop_map(|(id, body, hands, later_ms, ends_ms)| {
                Step::Admit { id, body, hands, later_ms, ends_ms }
            }),
        4 => (worker.clone(), 1..3_usize)
            .prop_map(|(worker, limit)| Step::ClaimSubmits { worker, limit }),
        4 => (worker.clone(), 1..3_usize)
            .prop_map(|(worker, limit)| Step::ClaimPolls { worker, limit }),
        9 => (prop_oneof![4 => Just(0), 2 => 0..8_usize], outcome())
            .prop_map(|(back, outcome)| Step::Settle { back, outcome }),
        1 => Just(Step::ReclaimOverdue),
        1 => worker.prop_map(|worker| Step::ReclaimDead { worker }),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => id.clone().prop_map(|id| Step::Cancel { id }),
        3 => (id.clone(), prop::bool::weighted(0.2))
            .prop_map(|(id, resubmit)| Step::Retry { id, resubmit }),
        2 => (id.clone(), finding()).prop_map(|(id, finding)| Step::Resolve { id, finding }),
        4 => (id.clone(), prop::bool::weighted(0.1), trust()).prop_map(|(id, foreign, trust)| {
            Step::Push { id, user: usize::from(foreign), trust }
        }),
        4 => prop_oneof![Just(1), Just(1000), Just(30_000), Just(LEASE_MS), Just(MAX_AGE_MS)]
            .prop_map(|ms| Step::Wait { ms }),
    ]
}

//! When the API's refusals end a job: often enough, long enough, and others are accepted meanwhile.

use reelq::queue::{Move, Settled};

use super::super::support::id;
use super::{NOW, Scene, accept, refused, unconfirm};
use crate::support::RULES;

const STAGE: &str = "reelq:{video}:stage:submit";

impl Scene {
    /// Another job is accepted; nothing else may be due.
    async fn another_is_accepted(&self, after_ms: u64) {
        self.submitting("other", after_ms).await;
        assert_eq!(self.settle(after_ms, "other", 1, accept("w-1")).await, Settled::Done);
    }

    /// The job `a`, which is due, is taken and refused.
    async fn is_refused(&self, after_ms: u64) -> Settled {
        self.comes_to(after_ms, refused()).await
    }

    async fn comes_to(&self, after_ms: u64, to: Move) -> Settled {
        let claimed = self.claim_submits(after_ms).await;
        assert_eq!(claimed.len(), 1, "at {after_ms}");
        self.settle(after_ms, "a", claimed[0].claim.0, to).await
    }

    async fn refusals(&self) -> Option<String> {
        self.0.command(&["HGET", "reelq:{video}:job:a", "refusals"]).await
    }
}

#[tokio::test]
async fn a_job_fails_by_three_refusals_over_the_grace_while_others_are_accepted() {
    let grace = u64::try_from(RULES.refused_grace.as_millis()).unwrap();
    // When it is refused, when another is accepted, and whether the last refusal ends it.
    for (refused_at, accepted_at, ends) in [
        (&[0, 2000, grace][..], Some(500), true),
        (&[0, 2000, grace], Some(2500), true),
        (&[0, 2000, grace - 1], Some(500), false),
        (&[0, 1500, 3000, grace - 1], Some(500), false),
        (&[0, grace], Some(500), false),
        (&[0, 2000, grace], None, false),
        (&[1000, 3000, 1000 + grace], Some(0), false),
        (&[0, 2000, 900_000], None, false),
    ] {
        let scene = Scene::new().await;
        let mut other = accepted_at;
        if refused_at[0] > 0 && other.is_some() {
            scene.another_is_accepted(other.take().unwrap()).await;
        }
        scene.waiting("a").await;
        let mut last = None;
        for at in refused_at {
            assert_ne!(last, Some(Settled::Refused), "{refused_at:?}: ended too early");
            if let Some(accepted_at) = other.take_if(|it| *it < *at) {
                scene.another_is_accepted(accepted_at).await;
            }
            last = Some(scene.is_refused(*at).await);
        }
        let expected = if ends { Settled::Refused } else { Settled::Done };
        assert_eq!(last, Some(expected), "{refused_at:?} {accepted_at:?}");
    }
}

#[tokio::test]
async fn a_refusal_in_a_halt_begins_the_grace_and_is_not_counted() {
    let scene = Scene::new().await;
    scene.waiting("a").await;
    let halt = async |after_ms: u64| {
        let next_probe = (NOW + after_ms).to_string();
        let words = ["HSET", STAGE, "state", "halted", "next-probe", &next_probe];
        scene.0.command::<u64>(&words).await
    };
    for at in [0, 2000, 4000] {
        halt(at).await;
        assert_eq!(scene.is_refused(at).await, Settled::Done);
        assert_eq!(scene.refusals().await, Some(format!("0 0 {NOW}")));
    }
    let _: u64 = scene.0.command(&["DEL", STAGE]).await;
    scene.another_is_accepted(4500).await;
    for at in [6000, 8000] {
        assert_eq!(scene.is_refused(at).await, Settled::Done);
    }
    halt(10_000).await;
    assert_eq!(scene.is_refused(10_000).await, Settled::Done, "in a halt no job fails");
    let _: u64 = scene.0.command(&["DEL", STAGE]).await;
    assert_eq!(scene.is_refused(12_000).await, Settled::Refused);
}

#[tokio::test]
async fn a_job_with_an_unanswered_post_fails_by_no_refusal() {
    let scene = Scene::new().await;
    scene.waiting("a").await;
    assert_eq!(scene.comes_to(0, unconfirm(false)).await, Settled::Done);
    assert_eq!(scene.is_refused(40_000).await, Settled::Done);
    scene.another_is_accepted(40_500).await;
    for at in [42_000, 44_000, 60_000] {
        assert_eq!(scene.is_refused(at).await, Settled::Done);
    }
    assert_eq!(scene.refusals().await, Some(format!("4 0 {}", NOW + 40_000)));
}

/// Records of an earlier version say how often, and how many jobs had been submitted at the first.
#[tokio::test]
async fn what_does_not_say_when_the_first_was_begins_its_grace_now() {
    for (found, expected) in
        [("2 0", format!("3 0 {NOW}")), ("x y z", format!("1 1 {NOW}")), ("", format!("1 1 {NOW}"))]
    {
        let scene = Scene::new().await;
        scene.another_is_accepted(0).await;
        scene.waiting("a").await;
        let _: u64 = scene.0.command(&["HSET", "reelq:{video}:job:a", "refusals", found]).await;
        assert_eq!(scene.is_refused(0).await, Settled::Done);
        assert_eq!(scene.refusals().await, Some(expected), "{found:?}");
        let ends = scene.is_refused(5000).await;
        assert_eq!(ends == Settled::Refused, found == "2 0", "{found:?}");
    }
}

/// A retry lets a job start over: what it was refused before does not count.
#[tokio::test]
async fn a_job_that_starts_over_is_refused_anew() {
    let scene = Scene::new().await;
    scene.waiting("a").await;
    scene.is_refused(0).await;
    scene.another_is_accepted(500).await;
    scene.is_refused(2000).await;
    assert_eq!(scene.is_refused(5000).await, Settled::Refused);
    scene.at(6000).retry(&[id("a")], false, false).await.unwrap();
    assert_eq!(scene.refusals().await, None);
    assert_eq!(scene.comes_to(6000, refused()).await, Settled::Done);
}

//! Which unconfirmed jobs are held for a person, and what `retry --held` does to them.

use reelq::job::{Millis, State};
use reelq::queue::{Finding, Operated};

use super::super::support::{id, job};
use super::{NOW, Scene, accept, unconfirm};

const DAY_MS: u64 = 86_400_000;

impl Scene {
    /// A job that is held since shortly after this time; nothing else may be due.
    async fn held_since(&self, name: &str, after_ms: u64) {
        self.submitting(name, after_ms).await;
        self.settle(after_ms + 10, name, 1, unconfirm(true)).await;
    }

    /// A job whose POSTs began at these times and were not answered, each when it was due.
    async fn unanswered(&self, name: &str, begun_ms: &[u64]) {
        self.waiting(name).await;
        for (claim, begun) in (1..).zip(begun_ms) {
            assert_eq!(self.claim_submits(*begun).await.len(), 1, "{name} at {begun}");
            self.settle(begun + 10, name, claim, unconfirm(false)).await;
        }
    }

    async fn held_at(&self, after_ms: u64) -> (Vec<String>, u64) {
        let queue = self.at(after_ms);
        let jobs = queue.held_jobs().await.unwrap();
        (jobs.iter().map(ToString::to_string).collect(), queue.held().await.unwrap())
    }
}

#[tokio::test]
async fn a_held_job_is_told_by_its_record_and_not_by_when_it_is_due() {
    let scene = Scene::new().await;
    scene.unanswered("often", &[0, 30_000, 330_000]).await;
    scene.unanswered("twice", &[331_000, 361_000]).await;
    scene.held_since("held", 362_000).await;
    let (request, mut fields) = job("near");
    fields.expires_at = Some(Millis(NOW + 500_000));
    scene.at(0).enqueue(&request, &fields).await.unwrap();
    assert_eq!(scene.claim_submits(363_000).await.len(), 1);
    scene.settle(363_010, "near", 1, unconfirm(true)).await;
    scene.unanswered("once", &[364_000]).await;
    let all = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let held = all(&["near", "held", "often"]);
    assert_eq!(scene.held_at(365_000).await, (held.clone(), 3), "the first to end comes first");
    // An earlier version made no mark when a job had been sent often enough.
    let _: u64 = scene.0.command(&["HDEL", "reelq:{video}:job:often", "held"]).await;
    assert_eq!(scene.held_at(365_000).await, (held, 3));
    // What somebody has put there hides nothing.
    let _: () = scene.0.command(&["SET", "reelq:{video}:job:odd", "no record"]).await;
    for member in [&b"odd"[..], b"\xff", b"nobody"] {
        let words: [&[u8]; 4] = [b"ZADD", b"reelq:{video}:unconfirmed", b"1", member];
        let _: u64 = scene.0.raw_command(words).await;
    }
    scene.at(365_000).retry_held(&[id("held")], false).await.unwrap();
    assert_eq!(scene.held_at(365_000).await, (all(&["near", "often"]), 2), "one is to be sent");
    assert_eq!(scene.held_at(DAY_MS - 1).await, (all(&["near", "often"]), 2), "to their end");
}

#[tokio::test]
async fn retry_of_the_held_sends_each_once_more_and_buys_nothing_that_ended_meanwhile() {
    let scene = Scene::new().await;
    let names = ["held", "cancelled", "failed", "completed", "polling", "forgotten"];
    for (after_ms, name) in (1..).zip(names) {
        scene.held_since(name, 100 * after_ms).await;
    }
    let ids = scene.at(1000).held_jobs().await.unwrap();
    assert_eq!(ids.len(), names.len());
    scene.at(1000).cancel(&[id("cancelled")], None).await.unwrap();
    for (name, finding) in [
        ("failed", Finding::GivenUp("nobody knows it".to_owned())),
        ("completed", Finding::Ready("https://cdn/v.mp4".to_owned())),
    ] {
        scene.at(1000).resolve(&id(name), &finding).await.unwrap();
    }
    scene.settle(1000, "polling", 1, accept("w-1")).await;
    let _: u64 = scene.0.command(&["DEL", "reelq:{video}:job:forgotten"]).await;

    let expected = ids.iter().map(|id| match id.as_str() {
        "held" => Operated::Done { state: State::Unconfirmed, revision: 1 },
        "forgotten" => Operated::Gone,
        _ => Operated::Refused("it is not held any more".to_owned()),
    });
    let expected = expected.collect::<Vec<_>>();
    let before = scene.0.dump().await;
    let retry = async |dry| scene.at(2000).retry_held(&ids, dry).await.unwrap();
    assert_eq!(retry(true).await, expected);
    assert_eq!(scene.0.dump().await, before, "a dry run changes nothing");
    scene.twice(expected, async || retry(false).await).await;
    let due: Vec<String> = scene
        .0
        .command(&[
            "ZRANGE",
            "reelq:{video}:unconfirmed",
            "-inf",
            &(NOW + 2000).to_string(),
            "BYSCORE",
        ])
        .await;
    assert_eq!(due, ["held"]);
    assert_eq!(scene.claim_submits(2000).await.len(), 1);
    scene.settle(2010, "held", 2, unconfirm(false)).await;
    assert_eq!(scene.at(2020).held_jobs().await.unwrap(), [], "that was its second");
}

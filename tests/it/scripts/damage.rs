//! What somebody did to a record by hand never stops the jobs beside it.

use reelq::job::Claim;
use reelq::queue::{Admission, Lost, Move, Settled, Settlement};

use super::super::support::{id, job};
use super::{Scene, accept, complete, repoll, requeue, unconfirm};

/// What can be done to the record of the job `bad`.
const DAMAGES: [&[&str]; 6] = [
    &["SET", "reelq:{video}:job:bad", "no record"],
    &["DEL", "reelq:{video}:job:bad"],
    &["LPUSH", "reelq:{video}:body:bad", "no body"],
    &["HSET", "reelq:{video}:job:bad", "accepted-at", "nan", "expires-at", "nan", "claim", "nan"],
    &[
        "HDEL",
        "reelq:{video}:job:bad",
        "accepted-at",
        "history",
        "claim",
        "posts",
        "polls",
        "attempts",
        "submitted-at",
        "next-at",
    ],
    &[
        "HSET",
        "reelq:{video}:job:bad",
        "accepted-at",
        "x",
        "claim",
        "x",
        "posts",
        "-1",
        "polls",
        "1e300",
        "attempts",
        "nan",
        "retries",
        "9999999999",
        "unconfirmed",
        "x",
        "recoveries",
        "x",
        "submitted-at",
        "x",
        "next-at",
        "x",
        "expires-at",
        "x",
        "not-before",
        "x",
    ],
];

impl Scene {
    /// The jobs `bad` and `good`, both waiting.
    async fn pair() -> Self {
        let scene = Self::new().await;
        let admitted = scene.at(0).enqueue_many(&[job("bad"), job("good")]).await.unwrap();
        assert_eq!(admitted, [Admission::Waiting; 2]);
        scene
    }

    async fn damage(&self, how: &[&str]) {
        if matches!(how[0], "SET" | "LPUSH") {
            let _: u64 = self.0.command(&["DEL", how[1]]).await;
        }
        let _: redis::Value = self.0.command(how).await;
    }

    /// Settles both jobs by one call; returns what became of the good one.
    async fn settle_pair(&self, after_ms: u64, claim: u64, to: Move) -> Settled {
        let settlement = |name| Settlement { id: id(name), claim: Claim(claim), to: to.clone() };
        let pair = [settlement("bad"), settlement("good")];
        self.at(after_ms).settle("w1", &pair).await.unwrap()[1]
    }
}

#[tokio::test]
async fn a_damaged_record_does_not_stop_claims_and_recoveries() {
    for damage in DAMAGES {
        let scene = Scene::pair().await;
        scene.damage(damage).await;
        let claimed = scene.claim_submits(0).await;
        assert!(claimed.iter().any(|job| job.id.as_str() == "good"), "{damage:?}");

        let scene = Scene::pair().await;
        scene.claim_submits(0).await;
        scene.damage(damage).await;
        assert_eq!(scene.reclaim(60_000).await, 2, "{damage:?}");

        let scene = Scene::pair().await;
        scene.claim_submits(0).await;
        scene.damage(damage).await;
        let dead = Lost::Worker { name: "w1", skip: 0 };
        assert_eq!(scene.at(9).reclaim(dead).await.unwrap().taken, 2);

        let scene = Scene::pair().await;
        scene.claim_submits(0).await;
        assert_eq!(scene.settle_pair(100, 1, accept("w-1")).await, Settled::Done);
        scene.damage(damage).await;
        let claimed = scene.claim_polls(5000).await;
        assert!(claimed.iter().any(|job| job.id.as_str() == "good"), "{damage:?}");
    }
}

#[tokio::test]
async fn a_damaged_record_does_not_stop_settlements() {
    for damage in DAMAGES {
        for to in [accept("w-1"), requeue(), unconfirm(false)] {
            let scene = Scene::pair().await;
            scene.claim_submits(0).await;
            scene.damage(damage).await;
            assert_eq!(
                scene.settle_pair(100, 1, to.clone()).await,
                Settled::Done,
                "{damage:?} {to:?}"
            );
        }
        for to in [repoll(""), complete()] {
            let scene = Scene::pair().await;
            scene.claim_submits(0).await;
            assert_eq!(scene.settle_pair(100, 1, accept("w-1")).await, Settled::Done);
            assert_eq!(scene.claim_polls(5000).await.len(), 2);
            scene.damage(damage).await;
            assert_eq!(
                scene.settle_pair(5100, 2, to.clone()).await,
                Settled::Done,
                "{damage:?} {to:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_key_in_place_of_a_record_does_not_stop_admissions() {
    let scene = Scene::new().await;
    scene.damage(DAMAGES[0]).await;
    let admitted = scene.at(0).enqueue_many(&[job("bad"), job("good")]).await.unwrap();
    assert_eq!(admitted, [Admission::Conflict, Admission::Waiting]);
}

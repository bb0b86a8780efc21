//! What the dead leave: lost leases, crash loops, and the beat that finds the silent; and what is put
//! back for others.

use std::time::Duration;

use expect_test::expect;
use futures_util::StreamExt;
use reelq::job::Stage;
use reelq::queue::{Beat, Lost, MAX_RECOVERIES, Move, QueueError, Rules, SILENT_AFTER};
use tokio::time::timeout;

use super::{Scene, accept, check, repoll, requeue};
use crate::support::RULES;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn reclaim_takes_back_what_was_held_too_long() {
    let scene = Scene::new().await;
    scene.submitting("submit", 0).await;
    scene.polling("poll").await;
    scene.claim_polls(1100).await;
    assert_eq!(scene.reclaim(59_999).await, 0);
    assert_eq!(scene.reclaim(61_100).await, 2);
    assert_eq!(scene.reclaim(61_100).await, 0, "a repeated call finds nothing");
    check(
        &scene.0.dump().await,
        expect![[r#"
            job:poll
              accepted-at 1800000000000 | attempts 0 | body-sha1 b4dd.. | claim 3 | customer-id acme | history +0 accepted, +100 submitted, +61100 lease lost | next-at 1800000061100 | polls 1 | posts 1 | recoveries 1 | revision 1 | state polling | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1 | worker w1
            job:submit
              accepted-at 1800000000000 | attempts 0 | body-sha1 6003.. | claim 2 | customer-id acme | history +0 accepted, +61100 lease lost | next-at 1800000091100 | polls 0 | posts 1 | recoveries 1 | revision 1 | state unconfirmed | unconfirmed 1 | use-case-id birthday | user-id ann | v 1 | worker w1
            poll
              poll 1800000061100
            unconfirmed
              submit 1800000091100
        "#]],
    );
}

#[tokio::test]
async fn reclaim_takes_back_what_a_dead_worker_held_and_leaves_the_living_alone() {
    let scene = Scene::new().await;
    scene.submitting("mine", 0).await;
    scene.waiting("theirs").await;
    let theirs = scene.at(0).claim_submits(scene.claimant("w2")).await.unwrap().0;
    assert_eq!(theirs.jobs.len(), 1);
    let dead = Lost::Worker { name: "w2", skip: 0 };
    let reclaimed = scene.at(100).reclaim(dead).await.unwrap();
    assert_eq!((reclaimed.taken, reclaimed.seen), (1, 2));
    check(
        &scene.0.dump().await,
        expect![[r#"
            job:mine
              accepted-at 1800000000000 | attempts 0 | body-sha1 3a55.. | claim 1 | customer-id acme | history +0 accepted | next-at 1800000000000 | polls 0 | posts 1 | revision 1 | state submitting | use-case-id birthday | user-id ann | v 1 | worker w1
            job:theirs
              accepted-at 1800000000000 | attempts 0 | body-sha1 42eb.. | claim 2 | customer-id acme | history +0 accepted, +100 lease lost | next-at 1800000030100 | polls 0 | posts 1 | recoveries 1 | revision 1 | state unconfirmed | unconfirmed 1 | use-case-id birthday | user-id ann | v 1 | worker w2
            leases
              mine 1800000060000
            unconfirmed
              theirs 1800000030100
        "#]],
    );
}

#[tokio::test]
async fn reclaim_ends_a_job_that_kills_its_workers() -> Result<(), QueueError> {
    let scene = Scene::new().await;
    scene.waiting("a").await;
    let patient = Rules { max_unconfirmed: 100, ..RULES };
    for crash in 0..MAX_RECOVERIES {
        let queue = scene.at(u64::from(crash) * 400_000).with_rules(patient);
        assert_eq!(queue.claim_submits(scene.claimant("w1")).await?.0.jobs.len(), 1);
        let later = scene.at(u64::from(crash) * 400_000 + 60_000).with_rules(patient);
        assert_eq!(later.reclaim(Lost::Overdue).await?.taken, 1);
    }
    check(
        &scene.0.dump().await,
        expect![[r#"
            dead
              a 1800001660000
            job:a ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 10 | customer-id acme | ended-at 1800001660000 | error crash-loop: its worker ended 5 times while submitting it | history +0 accepted, +60000 lease lost, +460000 lease lost, +860000 lease lost, +1260000 lease lost, +1660000 failed | polls 0 | posts 5 | result <entry> | revision 1 | state failed | unconfirmed 4 | use-case-id birthday | user-id ann | v 1
            results
              #1 client-request-id a | status failed | ended-at 1800001660000 | error crash-loop: its worker ended 5 times while submitting it | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | posts 5 | polls 0
        "#]],
    );
    Ok(())
}

#[tokio::test]
async fn tick_beats_and_tells_what_is_due_and_who_is_silent() -> Result<(), QueueError> {
    let scene = Scene::new().await;
    scene.at(0).tick(Beat::of("w2")).await?;
    scene.polling("a").await;
    let tick = scene.at(3999).tick(Beat::of("w1")).await?;
    assert_eq!(tick.silent, Vec::<String>::new());
    assert_eq!((tick.due_in.submit, tick.due_in.poll), (None, Some(Duration::ZERO)));
    scene.waiting("b").await;
    let tick = scene.at(4000).tick(Beat::of("w1")).await?;
    assert_eq!((tick.silent, tick.due_in.submit), (vec!["w2".to_owned()], Some(Duration::ZERO)));
    Ok(())
}

/// After a stall of Redis everybody looks dead, until the beats that waited are carried out.
#[tokio::test]
async fn a_worker_that_beats_again_keeps_what_it_holds() {
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    scene.at(0).tick(Beat::of("w1")).await.unwrap();
    let silent_ms = u64::try_from(SILENT_AFTER.as_millis()).unwrap();
    let take_back = async |after_ms| {
        let lost = Lost::Worker { name: "w1", skip: 0 };
        scene.at(after_ms).reclaim(lost).await.unwrap().taken
    };
    assert_eq!(take_back(silent_ms - 1).await, 0);
    scene.at(silent_ms).tick(Beat::of("w1")).await.unwrap();
    assert_eq!(take_back(silent_ms + 1).await, 0);
    assert_eq!(take_back(2 * silent_ms).await, 1);
}

#[tokio::test]
async fn a_worker_with_entries_pending_is_not_forgotten() {
    let scene = Scene::new().await;
    let body = r#"{"client-request-id":"a","customer-id":"c","use-case-id":"u","user-id":"u"}"#;
    let entry = [scene.delivered(&[("job", body)]).await];
    scene.at(0).tick(Beat::of("w1")).await.unwrap();
    let known = async || -> (u64, Vec<redis::Value>) {
        let consumers = ["XINFO", "CONSUMERS", "reelq:{video}:jobs", "workers"];
        let workers = scene.0.command(&["ZCARD", "reelq:{video}:workers"]).await;
        (workers, scene.0.command(&consumers).await)
    };
    scene.at(0).forget_worker("w1").await.unwrap();
    let (workers, readers) = known().await;
    assert_eq!((workers, readers.len()), (1, 1));
    scene.admit(0, &entry).await;
    for _twice in 0..2 {
        scene.at(0).forget_worker("w1").await.unwrap();
        let (workers, readers) = known().await;
        assert_eq!((workers, readers.len()), (0, 0));
    }
}

#[tokio::test]
async fn what_is_due_at_once_wakes_the_other_workers() {
    let scene = Scene::new().await;
    let (delay, event) = (Duration::ZERO, "no connection".to_owned());
    let back = Move::Repoll { delay, streak: String::new(), event: event.clone() };
    let unsent = Move::Requeue { delay, spends_attempt: false, event, refusal: None };
    for name in ["waits", "polls"] {
        scene.submitting(name, 0).await;
    }
    scene.settle(0, "polls", 1, accept("w-1")).await;
    assert_eq!(scene.claim_polls(2000).await.len(), 1);
    let mut news = scene.at(0).wake_ups().await.unwrap().boxed();
    scene.settle(2000, "polls", 2, repoll("")).await;
    scene.settle(2000, "waits", 1, unsent).await;
    assert_eq!(timeout(SOON, news.next()).await, Ok(Some(Stage::Submit)));
    assert_eq!(scene.claim_submits(2000).await.len(), 1);
    assert_eq!(scene.claim_polls(9000).await.len(), 1);
    scene.settle(9000, "waits", 2, requeue()).await;
    scene.settle(9000, "polls", 3, back).await;
    assert_eq!(timeout(SOON, news.next()).await, Ok(Some(Stage::Poll)));
}

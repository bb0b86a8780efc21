//! The submit stage: claims, and what a POST came to.

use std::time::Duration;

use expect_test::expect;
use reelq::job::Claim;
use reelq::queue::{Claimant, Settled};

use super::super::support::id;
use super::{Scene, accept, check, fail, requeue, unconfirm};

#[tokio::test]
async fn claim_submit_takes_what_is_due_and_counts_the_post() {
    let scene = Scene::new().await;
    scene.waiting("a").await;
    let claimed = scene.claim_submits(10).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].id.as_str(), claimed[0].claim), ("a", Claim(1)));
    check(
        &scene.0.dump().await,
        expect![[r#"
            job:a
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 1 | customer-id acme | history +0 accepted | next-at 1800000000000 | polls 0 | posts 1 | revision 1 | state submitting | use-case-id birthday | user-id ann | v 1 | worker w1
            leases
              a 1800000060010
        "#]],
    );
    assert_eq!(scene.claim_submits(10).await, [], "a job is claimed once");
}

#[tokio::test]
async fn claim_submit_gives_the_same_jobs_again_when_its_reply_was_lost() {
    let scene = Scene::new().await;
    for name in ["a", "b", "c"] {
        scene.waiting(name).await;
    }
    let first = Claimant { limit: 2, ..scene.claimant("w1") };
    let claim = async |after_ms, claimant| {
        let queue = scene.at(after_ms);
        queue.claim_submits(claimant).await.unwrap().0.jobs
    };
    let taken = claim(10, first).await;
    scene.twice(taken, async || claim(10, first).await).await;
    scene.settle(20, "a", 1, requeue()).await;
    let left: Vec<_> = claim(30, first).await.into_iter().map(|job| job.id).collect();
    assert_eq!(left, [id("b")], "what is no longer in hand is not given");
    assert_eq!(
        claim(30, scene.claimant("w1")).await.len(),
        1,
        "the next number takes what is left"
    );
    scene.waiting("d").await;
    let before = scene.0.dump().await;
    assert_eq!(claim(40, first).await, [], "overtaken: nobody waits for its reply");
    assert_eq!(scene.0.dump().await, before);
}

#[tokio::test]
async fn claim_submit_says_when_the_next_is_due_and_respects_the_pause() {
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    assert_eq!(scene.settle(0, "a", 1, requeue()).await, Settled::Done);
    let claimed = scene.at(500).claim_submits(scene.claimant("w1")).await.unwrap().0;
    assert_eq!((claimed.jobs.len(), claimed.next_in), (0, Some(Duration::from_millis(1500))));
    let _: () = scene.0.command(&["SET", "reelq:{video}:paused", "holiday"]).await;
    let before = scene.0.dump().await;
    let claimed = scene.at(9000).claim_submits(scene.claimant("w1")).await.unwrap().0;
    assert_eq!((claimed.jobs.len(), claimed.next_in), (0, None));
    assert_eq!(scene.0.dump().await, before);
}

#[tokio::test]
async fn claim_submit_expires_what_is_too_old() {
    let scene = Scene::new().await;
    scene.waiting("a").await;
    assert_eq!(scene.claim_submits(86_400_000).await, []);
    check(
        &scene.0.dump().await,
        expect![[r#"
            dead
              a 1800086400000
            job:a ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 0 | customer-id acme | ended-at 1800086400000 | error submit-deadline: not submitted in time | history +0 accepted, +86400000 expired | polls 0 | posts 0 | result <entry> | revision 1 | state expired | use-case-id birthday | user-id ann | v 1
            results
              #1 client-request-id a | status expired | ended-at 1800086400000 | error submit-deadline: not submitted in time | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | posts 0 | polls 0
        "#]],
    );
}

#[tokio::test]
async fn claim_submit_quarantines_a_place_without_a_record() {
    let scene = Scene::new().await;
    let _: () = scene.0.command(&["ZADD", "reelq:{video}:submit", "1", "ghost"]).await;
    assert_eq!(scene.claim_submits(0).await, []);
    expect![[r#"
        counters
          quarantined 1
        jobs
          group workers: 0 pending
    "#]]
    .assert_eq(&scene.0.dump().await);
}

#[tokio::test]
async fn accept_lets_the_video_be_followed() {
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    let dump = scene.settle_twice(100, "a", 1, accept("w-1"), Settled::Done).await;
    check(
        &dump,
        expect![[r#"
            job:a
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 1 | customer-id acme | history +0 accepted, +100 submitted | next-at 1800000001100 | polls 0 | posts 1 | revision 1 | state polling | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1 | worker w1
            poll
              a 1800000001100
        "#]],
    );
}

#[tokio::test]
async fn accept_believes_a_late_answer_from_wherever_the_job_stands() {
    let scene = Scene::new().await;
    scene.submitting("waiting", 0).await;
    scene.settle(10, "waiting", 1, requeue()).await;
    scene.submitting("unconfirmed", 0).await;
    scene.settle(10, "unconfirmed", 1, unconfirm(false)).await;
    for name in ["waiting", "unconfirmed"] {
        scene.settle_twice(100, name, 1, accept("w-1"), Settled::Done).await;
    }
    check(
        &scene.0.dump().await,
        expect![[r#"
            job:unconfirmed
              accepted-at 1800000000000 | attempts 0 | body-sha1 55dc.. | claim 1 | customer-id acme | history +0 accepted, +10 unconfirmed: time-out, +100 submitted | next-at 1800000001100 | polls 0 | posts 1 | revision 1 | state polling | submitted-at 1800000000100 | unconfirmed 1 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1 | worker w1
            job:waiting
              accepted-at 1800000000000 | attempts 1 | body-sha1 3748.. | claim 1 | customer-id acme | history +0 accepted, +10 retry: 500, +100 submitted | next-at 1800000001100 | polls 0 | posts 1 | retries 1 | revision 1 | state polling | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1 | worker w1
            poll
              unconfirmed 1800000001100
              waiting 1800000001100
        "#]],
    );
}

#[tokio::test]
async fn accept_remembers_a_second_id_of_a_job_and_an_id_that_comes_too_late() {
    let scene = Scene::new().await;
    scene.polling("twice").await;
    scene.settle_twice(200, "twice", 2, accept("w-2"), Settled::AlsoAccepted).await;
    scene.submitting("ended", 0).await;
    scene.settle(10, "ended", 1, fail()).await;
    scene.settle_twice(200, "ended", 1, accept("w-3"), Settled::Late).await;
    scene.refused(200, "nobody", 1, accept("w-4"), Settled::Gone).await;
    check(
        &scene.0.dump().await,
        expect![[r#"
            dead
              ended 1800000000010
            job:ended ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 0046.. | claim 1 | customer-id acme | ended-at 1800000000010 | error generation-failed: no face found | history +0 accepted, +10 failed | polls 0 | posts 1 | result <entry> | revision 1 | source poll | state failed | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-3
            job:twice
              accepted-at 1800000000000 | also-accepted w-2 | attempts 0 | body-sha1 165a.. | claim 1 | customer-id acme | history +0 accepted, +100 submitted | next-at 1800000001100 | polls 0 | posts 1 | revision 1 | state polling | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1 | worker w1
            poll
              twice 1800000001100
            results
              #1 client-request-id ended | status failed | ended-at 1800000000010 | error generation-failed: no face found | source poll | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | posts 1 | polls 0
        "#]],
    );
}

#[tokio::test]
async fn requeue_lets_a_job_wait_and_spends_the_attempt() {
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    let dump = scene.settle_twice(100, "a", 1, requeue(), Settled::Done).await;
    check(
        &dump,
        expect![[r#"
            job:a
              accepted-at 1800000000000 | attempts 1 | body-sha1 c809.. | claim 1 | customer-id acme | history +0 accepted, +100 retry: 500 | next-at 1800000002100 | polls 0 | posts 1 | retries 1 | revision 1 | state waiting | use-case-id birthday | user-id ann | v 1 | worker w1
            submit
              a 1800000002100
        "#]],
    );
    scene.claim_submits(9000).await;
    scene.refused(9000, "a", 1, requeue(), Settled::Stale).await;
    scene.refused(9000, "nobody", 1, requeue(), Settled::Gone).await;
}

#[tokio::test]
async fn unconfirm_waits_for_the_grace_twice_and_then_for_the_deadline() {
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    let dump = scene.settle_twice(20_000, "a", 1, unconfirm(false), Settled::Done).await;
    check(
        &dump,
        expect![[r#"
            job:a
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 1 | customer-id acme | history +0 accepted, +20000 unconfirmed: time-out | next-at 1800000049990 | polls 0 | posts 1 | revision 1 | state unconfirmed | unconfirmed 1 | use-case-id birthday | user-id ann | v 1 | worker w1
            unconfirmed
              a 1800000049990
        "#]],
    );
    assert_eq!(scene.claim_submits(49_989).await, [], "the grace runs from the POST's begin");
    for (claim, now) in [(2, 49_990), (3, 349_980)] {
        assert_eq!(scene.claim_submits(now - 1).await, [], "ten graces before the second repeat");
        assert_eq!(
            scene.claim_submits(now).await[0].unconfirmed,
            u32::try_from(claim - 1).unwrap()
        );
        assert_eq!(scene.settle(now, "a", claim, unconfirm(false)).await, Settled::Done);
    }
    assert_eq!(scene.claim_submits(86_399_999).await, [], "sent again often enough");
    scene.refused(1, "a", 1, unconfirm(false), Settled::Stale).await;
    assert_eq!(scene.claim_submits(86_400_000).await, []);
    check(
        &scene.0.dump().await,
        expect![[r#"
            dead
              a 1800086400000
            job:a ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 3 | customer-id acme | ended-at 1800086400000 | error submit-unconfirmed: a POST was sent, its answer never came | history +0 accepted, +20000 unconfirmed: time-out, +49990 unconfirmed: time-out, +349980 unconfirmed: time-out, +86400000 failed | polls 0 | posts 3 | result <entry> | revision 1 | state failed | unconfirmed 3 | use-case-id birthday | user-id ann | v 1
            results
              #1 client-request-id a | status failed | ended-at 1800086400000 | error submit-unconfirmed: a POST was sent, its answer never came | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | posts 3 | polls 0
        "#]],
    );
}

#[tokio::test]
async fn unconfirm_can_hold_a_job() {
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    scene.settle_twice(100, "a", 1, unconfirm(true), Settled::Done).await;
    let claimed = scene.at(60_000).claim_submits(scene.claimant("w1")).await.unwrap().0;
    assert_eq!((claimed.jobs, claimed.next_in), (vec![], Some(Duration::from_secs(86_340))));
    // A halt moves the deadline; the job stays held.
    let two_hours_later = "1800007200000";
    let halt_ended = ["SET", "reelq:{video}:halt-ended:submit", two_hours_later];
    let _: () = scene.0.command(&halt_ended).await;
    assert_eq!(scene.claim_submits(86_400_000).await, []);
    assert_eq!(scene.claim_submits(93_599_999).await, []);
    let state: String = scene.0.command(&["HGET", "reelq:{video}:job:a", "state"]).await;
    assert_eq!(state, "unconfirmed");
}

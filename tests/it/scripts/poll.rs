//! The poll stage: claims, the next check, and the ends.

use std::time::Duration;

use expect_test::expect;
use reelq::job::Claim;
use reelq::queue::{PollClaim, Settled};

use super::super::support::id;
use super::{Scene, check, complete, expire, fail, repoll};

#[tokio::test]
async fn claim_poll_takes_what_is_due_and_tells_what_a_check_needs() {
    let scene = Scene::new().await;
    scene.polling("a").await;
    assert_eq!(scene.claim_polls(1099).await, []);
    let claimant = scene.claimant("w1");
    let claim = async || scene.at(1150).claim_polls(claimant).await.unwrap().jobs;
    let claimed = claim().await;
    scene.twice(claimed.clone(), claim).await;
    let expected = PollClaim {
        id: id("a"),
        claim: Claim(2),
        whilter_request_id: "w-1".to_owned(),
        pair: "birthday acme".to_owned(),
        polls: 1,
        late_by: Duration::from_millis(50),
        age: Duration::from_millis(1050),
        since_admission: Duration::from_millis(1150),
        expires_in: None,
        streak: None,
        is_pushed: false,
    };
    assert_eq!(claimed, [expected]);
    check(
        &scene.0.dump().await,
        expect![[r#"
            job:a
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 2 | customer-id acme | history +0 accepted, +100 submitted | next-at 1800000001100 | polls 1 | posts 1 | revision 1 | state polling | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1 | worker w1
            leases
              a 1800000061150
        "#]],
    );
}

#[tokio::test]
async fn repoll_lets_a_job_wait_and_keeps_a_bad_streak() {
    let scene = Scene::new().await;
    scene.polling("a").await;
    scene.claim_polls(1100).await;
    scene.settle_twice(1200, "a", 2, repoll("not-found 1 1100"), Settled::Done).await;
    assert_eq!(scene.claim_polls(3000).await[0].streak.as_deref(), Some("not-found 1 1100"));
    scene.settle_twice(3100, "a", 3, repoll(""), Settled::Done).await;
    assert_eq!(scene.claim_polls(5000).await[0].streak, None);
    scene.settle_twice(5100, "a", 4, repoll(""), Settled::Done).await;
    scene.refused(5200, "a", 3, repoll(""), Settled::Stale).await;
    scene.refused(5200, "nobody", 3, repoll(""), Settled::Gone).await;
    check(
        &scene.0.dump().await,
        expect![[r#"
            checks-fail-since ttl 3600 s
              1800000001200
            job:a
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 4 | customer-id acme | history +0 accepted, +100 submitted, +1200 poll, +5100 poll | next-at 1800000006700 | polls 3 | posts 1 | revision 1 | state polling | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1 | worker w1
            poll
              a 1800000006700
        "#]],
    );
}

#[tokio::test]
async fn finish_publishes_one_result() {
    let scene = Scene::new().await;
    scene.polling("a").await;
    scene.claim_polls(1100).await;
    let dump = scene.settle_twice(1200, "a", 2, complete(), Settled::Done).await;
    expect![[r#"
        claimed:poll:w1 ttl 60 s
          2 a
        claimed:submit:w1 ttl 60 s
          1 a
        counters
          accepted 1 | completed 1 | polled 1 | submitted 1
        job:a ttl 100 s
          accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 2 | customer-id acme | ended-at 1800000001200 | history +0 accepted, +100 submitted, +1200 completed | polls 1 | posts 1 | result <entry> | revision 1 | source poll | state completed | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | video-url https://cdn/v.mp4 | whilter-request-id w-1
        jobs
          group workers: 0 pending
        results
          #1 client-request-id a | status completed | ended-at 1800000001200 | video-url https://cdn/v.mp4 | source poll | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
    "#]].assert_eq(&dump);
    scene.refused(1300, "a", 2, fail(), Settled::Late).await;
    scene.refused(1300, "a", 2, repoll(""), Settled::Stale).await;
    scene.refused(1300, "nobody", 2, complete(), Settled::Gone).await;
}

/// The API took longer than the deadline, and the answer was on its way.
#[tokio::test]
async fn finish_completes_an_expired_job_as_its_next_revision() {
    let scene = Scene::new().await;
    scene.polling("a").await;
    scene.claim_polls(1100).await;
    scene.settle(1200, "a", 2, expire()).await;
    let dump = scene.settle_twice(1300, "a", 1, complete(), Settled::Done).await;
    check(
        &dump,
        expect![[r#"
            job:a ttl 100 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 2 | customer-id acme | ended-at 1800000001300 | history +0 accepted, +100 submitted, +1200 expired, +1300 completed | polls 1 | posts 1 | result <entry> | revision 2 | source poll | state completed | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | video-url https://cdn/v.mp4 | whilter-request-id w-1
            results
              #1 client-request-id a | status expired | ended-at 1800000001200 | error poll-deadline: no video in 1 s | source poll | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
              #2 client-request-id a | status completed | ended-at 1800000001300 | video-url https://cdn/v.mp4 | source poll | accepted-at 1800000000000 | revision 2 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
        "#]],
    );
}

#[tokio::test]
async fn finish_keeps_a_failed_job_for_inspection() {
    let scene = Scene::new().await;
    scene.polling("a").await;
    scene.claim_polls(1100).await;
    let dump = scene.settle_twice(1200, "a", 2, fail(), Settled::Done).await;
    check(
        &dump,
        expect![[r#"
            dead
              a 1800000001200
            job:a ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 2 | customer-id acme | ended-at 1800000001200 | error generation-failed: no face found | history +0 accepted, +100 submitted, +1200 failed | polls 1 | posts 1 | result <entry> | revision 1 | source poll | state failed | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1
            results
              #1 client-request-id a | status failed | ended-at 1800000001200 | error generation-failed: no face found | source poll | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
        "#]],
    );
}

#[tokio::test]
async fn finish_believes_a_late_url_and_refuses_a_late_failure() {
    let scene = Scene::new().await;
    scene.polling("a").await;
    scene.claim_polls(1100).await;
    scene.reclaim(70_000).await;
    scene.refused(70_000, "a", 2, fail(), Settled::Stale).await;
    scene.settle_twice(70_001, "a", 2, complete(), Settled::Done).await;
    check(
        &scene.0.dump().await,
        expect![[r#"
            job:a ttl 100 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 3 | customer-id acme | ended-at 1800000070001 | history +0 accepted, +100 submitted, +70000 lease lost, +70001 completed | polls 1 | posts 1 | result <entry> | revision 1 | source poll | state completed | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | video-url https://cdn/v.mp4 | whilter-request-id w-1
            results
              #1 client-request-id a | status completed | ended-at 1800000070001 | video-url https://cdn/v.mp4 | source poll | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
        "#]],
    );
}

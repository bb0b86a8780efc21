//! Pushes of the API for jobs that have ended.

use expect_test::expect;
use reelq::job::{Claim, ErrorCode, Fault, State};
use reelq::queue::{End, PushOutcome, PushTrust, Settled, Settlement, Source};

use super::super::support::id;
use super::push::{TRUSTS, URL};
use super::{Move, Scene, check, expire, fail, repoll};

#[tokio::test]
async fn a_push_of_an_expired_job_leads_to_one_more_check() {
    for trust in [PushTrust::Anybody, PushTrust::Authenticated] {
        let scene = Scene::new().await;
        scene.polling("a").await;
        scene.claim_polls(1100).await;
        scene.settle(1200, "a", 2, expire()).await;
        let dump = scene.push_twice(5000, "a", trust, [PushOutcome::Checked; 2]).await;
        if trust == PushTrust::Anybody {
            check(
                &dump,
                expect![[r#"
                    dead
                      a 1800000001200
                    job:a ttl 200 s
                      accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 2 | customer-id acme | ended-at 1800000001200 | error poll-deadline: no video in 1 s | history +0 accepted, +100 submitted, +1200 expired | next-at 1800000005000 | polls 1 | posts 1 | pushed-at 1800000005000 | pushed-url https://cdn/pushed.mp4 | result <entry> | revision 1 | source poll | state expired | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1
                    poll
                      a 1800000005000
                    results
                      #1 client-request-id a | status expired | ended-at 1800000001200 | error poll-deadline: no video in 1 s | source poll | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
                "#]],
            );
        }
        let claim = async || scene.at(5000).claim_polls(scene.claimant("w1")).await.unwrap().jobs;
        let claimed = claim().await;
        assert!(claimed[0].is_pushed);
        // Without an answer it is checked again, also by another worker.
        scene.settle_twice(5100, "a", 3, repoll("unanswered 1 5000"), Settled::Done).await;
        assert_eq!(scene.claim_polls(6700).await.len(), 1);
        assert_eq!(scene.reclaim(66_700).await, 1);
        assert_eq!(scene.at(66_700).claim_polls(scene.claimant("w2")).await.unwrap().jobs.len(), 1);
        // Without a URL it stays expired, and is in no place any more.
        let still = Settlement { id: id("a"), claim: Claim(6), to: expire() };
        let settle =
            async || scene.at(66_800).settle("w2", std::slice::from_ref(&still)).await.unwrap()[0];
        scene.twice(Settled::Done, settle).await;
        assert_eq!(
            (scene.state("a").await.as_str(), scene.0.exists("poll").await),
            ("expired", false)
        );
        assert!(!scene.0.exists("leases").await);
        // With a URL it is completed as its next revision.
        scene.push(70_000, "a", trust).await;
        scene.claim_polls(70_000).await;
        let found = Move::Finish {
            end: End::Completed {
                video_url: Some("https://cdn/v.mp4".to_owned()),
                image_url: None,
            },
            source: Source::Webhook,
        };
        scene.settle_twice(70_100, "a", 7, found, Settled::Done).await;
        assert_eq!(scene.state("a").await, "completed");
        assert_eq!(scene.field("a", "revision").await.as_deref(), Some("2"));
        for place in ["submit", "unconfirmed", "poll", "leases"] {
            assert!(!scene.0.exists(place).await, "it is in {place}");
        }
        let results: usize = scene.0.command(&["XLEN", "reelq:{video}:results"]).await;
        assert_eq!(results, 2);
    }
}

/// What the end of an expired job left behind cannot undo the check that a push asks for.
#[tokio::test]
async fn a_repeated_end_leaves_the_one_more_check() {
    let scene = Scene::new().await;
    scene.polling("a").await;
    scene.claim_polls(1100).await;
    scene.settle(1200, "a", 2, expire()).await;
    scene.push(5000, "a", PushTrust::Anybody).await;
    scene.settle_twice(5000, "a", 2, expire(), Settled::Done).await;
    assert_eq!(scene.claim_polls(5000).await.len(), 1);
    scene.settle_twice(5000, "a", 2, expire(), Settled::Late).await;
    assert_eq!(scene.settle(5100, "a", 3, repoll("")).await, Settled::Done);
}

#[tokio::test]
async fn a_believed_push_completes_an_expired_job_as_its_next_revision() {
    let scene = Scene::new().await;
    scene.polling("a").await;
    scene.claim_polls(1100).await;
    scene.settle(1200, "a", 2, expire()).await;
    let codes = [PushOutcome::Completed, PushOutcome::Known];
    let dump = scene.push_twice(5000, "a", PushTrust::Accept, codes).await;
    check(
        &dump,
        expect![[r#"
        job:a ttl 100 s
          accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 2 | customer-id acme | ended-at 1800000005000 | history +0 accepted, +100 submitted, +1200 expired, +5000 completed | polls 1 | posts 1 | result <entry> | revision 2 | source webhook | state completed | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | video-url https://cdn/pushed.mp4 | whilter-request-id w-1
        results
          #1 client-request-id a | status expired | ended-at 1800000001200 | error poll-deadline: no video in 1 s | source poll | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
          #2 client-request-id a | status completed | ended-at 1800000005000 | video-url https://cdn/pushed.mp4 | source webhook | accepted-at 1800000000000 | revision 2 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
    "#]],
    );
}

#[tokio::test]
async fn other_ends_keep_the_url_in_the_record_alone() {
    for trust in TRUSTS {
        let scene = Scene::new().await;
        scene.polling("failed").await;
        scene.claim_polls(1100).await;
        scene.settle(1200, "failed", 2, fail()).await;
        scene.polling("cancelled").await;
        scene.at(1300).cancel(&[id("cancelled")], None).await.unwrap();
        for name in ["failed", "cancelled"] {
            scene.push_twice(5000, name, trust, [PushOutcome::Recorded; 2]).await;
            assert_eq!(scene.state(name).await, name);
            assert_eq!(scene.field(name, "pushed-url").await.as_deref(), Some(URL));
        }
        let results: usize = scene.0.command(&["XLEN", "reelq:{video}:results"]).await;
        assert_eq!(results, 2);
    }
}

/// A push that came after a job had failed is worth more than another POST.
#[tokio::test]
async fn retry_ends_a_job_with_what_the_api_has_pushed_unless_it_is_to_be_bought_again() {
    for resubmit in [false, true] {
        let scene = Scene::new().await;
        scene.submitting("a", 0).await;
        let refused = Move::Finish {
            end: End::Failed(Fault::new(ErrorCode::BadRequest, "400")),
            source: Source::Submit,
        };
        scene.settle(100, "a", 1, refused).await;
        scene.push(200, "a", PushTrust::Authenticated).await;
        let ids = [id("a")];
        let queue = scene.at(300);
        let retry = async || queue.retry(&ids, resubmit, false).await.unwrap()[0].state();
        scene.twice(Some(State::Waiting), retry).await;
        let (claimed, ended) = scene.at(400).claim_submits(scene.claimant("w1")).await.unwrap();
        let expected = if resubmit { (1, 0) } else { (0, 1) };
        assert_eq!((claimed.jobs.len(), ended.completed), expected);
    }
}

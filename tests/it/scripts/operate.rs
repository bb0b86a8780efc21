//! What an operator does: cancel, retry, resolve.

use std::time::Duration;

use expect_test::expect;
use reelq::job::State;
use reelq::queue::{Finding, Move, Operated, Rules, Settled};

use super::super::support::id;
use super::{Scene, accept, check, complete, expire, fail, repoll, unconfirm};
use crate::support::RULES;

impl Scene {
    async fn cancel(&self, after_ms: u64, name: &str) -> Operated {
        self.at(after_ms).cancel(&[id(name)], None).await.unwrap().remove(0)
    }

    async fn retry(&self, after_ms: u64, name: &str, resubmit: bool) -> Operated {
        let (queue, ids) = (self.at(after_ms), [id(name)]);
        let before = self.0.dump().await;
        let told = queue.retry(&ids, resubmit, true).await.unwrap().remove(0);
        assert_eq!(self.0.dump().await, before, "a dry run changes nothing");
        let done = queue.retry(&ids, resubmit, false).await.unwrap().remove(0);
        assert_eq!(told, done, "and tells what would be");
        done
    }

    async fn resolve(&self, after_ms: u64, name: &str, finding: &Finding) -> Operated {
        self.at(after_ms).resolve(&id(name), finding).await.unwrap()
    }

    /// A job whose POST was not answered, at 100 ms; it is due again at 30,090 ms.
    async fn unconfirmed(&self, name: &str) {
        self.submitting(name, 0).await;
        assert_eq!(self.settle(100, name, 1, unconfirm(false)).await, Settled::Done);
    }

    /// A job that ended at 1200 ms, accepted as `w-1`.
    async fn ended(&self, name: &str, to: Move) {
        self.polling(name).await;
        self.claim_polls(1100).await;
        assert_eq!(self.settle(1200, name, 2, to).await, Settled::Done);
    }
}

fn done(state: State, revision: u64) -> Operated {
    Operated::Done { state, revision }
}

fn refused(why: &str) -> Operated {
    Operated::Refused(why.to_owned())
}

#[tokio::test]
async fn cancel_ends_a_job_wherever_it_is_and_publishes_it() {
    let scene = Scene::new().await;
    scene.waiting("a").await;
    let cancelled = done(State::Cancelled, 1);
    let dump = scene.twice(cancelled.clone(), async || scene.cancel(50, "a").await).await;
    check(
        &dump,
        expect![[r#"
            job:a ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 0 | customer-id acme | ended-at 1800000000050 | error cancelled-by-operator: it was never sent | history +0 accepted, +50 cancelled | polls 0 | posts 0 | result <entry> | revision 1 | source operator | state cancelled | use-case-id birthday | user-id ann | v 1
            results
              #1 client-request-id a | status cancelled | ended-at 1800000000050 | error cancelled-by-operator: it was never sent | source operator | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | posts 0 | polls 0
        "#]],
    );
    scene.submitting("b", 0).await;
    scene.unconfirmed("c").await;
    scene.polling("d").await;
    scene.polling("e").await;
    assert_eq!(scene.claim_polls(1100).await.len(), 2, "one of them is being checked");
    scene.settle(1150, "d", 2, repoll("")).await;
    for name in ["b", "c", "d", "e"] {
        scene.twice(cancelled.clone(), async || scene.cancel(1200, name).await).await;
    }
    scene.ended("f", complete()).await;
    for (name, answer) in [("f", refused("it has ended: completed")), ("nobody", Operated::Gone)] {
        scene.twice(answer, async || scene.cancel(1300, name).await).await;
    }
    check(
        &scene.0.dump().await,
        expect![[r#"
            job:a ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 0 | customer-id acme | ended-at 1800000000050 | error cancelled-by-operator: it was never sent | history +0 accepted, +50 cancelled | polls 0 | posts 0 | result <entry> | revision 1 | source operator | state cancelled | use-case-id birthday | user-id ann | v 1
            job:b ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 9948.. | claim 1 | customer-id acme | ended-at 1800000001200 | error cancelled-by-operator: it had been sent; the video may still be made and billed | history +0 accepted, +1200 cancelled | polls 0 | posts 1 | result <entry> | revision 1 | source operator | state cancelled | unconfirmed 1 | use-case-id birthday | user-id ann | v 1
            job:c ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 17b2.. | claim 1 | customer-id acme | ended-at 1800000001200 | error cancelled-by-operator: it had been sent; the video may still be made and billed | history +0 accepted, +100 unconfirmed: time-out, +1200 cancelled | polls 0 | posts 1 | result <entry> | revision 1 | source operator | state cancelled | unconfirmed 1 | use-case-id birthday | user-id ann | v 1
            job:d ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 fa32.. | claim 2 | customer-id acme | ended-at 1800000001200 | error cancelled-by-operator: it had been sent; the video may still be made and billed | history +0 accepted, +100 submitted, +1150 poll, +1200 cancelled | polls 1 | posts 1 | result <entry> | revision 1 | source operator | state cancelled | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1
            job:e ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 8d6d.. | claim 2 | customer-id acme | ended-at 1800000001200 | error cancelled-by-operator: it had been sent; the video may still be made and billed | history +0 accepted, +100 submitted, +1200 cancelled | polls 1 | posts 1 | result <entry> | revision 1 | source operator | state cancelled | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1
            job:f ttl 100 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 58bd.. | claim 2 | customer-id acme | ended-at 1800000001200 | history +0 accepted, +100 submitted, +1200 completed | polls 1 | posts 1 | result <entry> | revision 1 | source poll | state completed | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | video-url https://cdn/v.mp4 | whilter-request-id w-1
            results
              #1 client-request-id a | status cancelled | ended-at 1800000000050 | error cancelled-by-operator: it was never sent | source operator | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | posts 0 | polls 0
              #2 client-request-id b | status cancelled | ended-at 1800000001200 | error cancelled-by-operator: it had been sent; the video may still be made and billed | source operator | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | posts 1 | polls 0
              #3 client-request-id c | status cancelled | ended-at 1800000001200 | error cancelled-by-operator: it had been sent; the video may still be made and billed | source operator | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | posts 1 | polls 0
              #4 client-request-id d | status cancelled | ended-at 1800000001200 | error cancelled-by-operator: it had been sent; the video may still be made and billed | source operator | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
              #5 client-request-id e | status cancelled | ended-at 1800000001200 | error cancelled-by-operator: it had been sent; the video may still be made and billed | source operator | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
              #6 client-request-id f | status completed | ended-at 1800000001200 | video-url https://cdn/v.mp4 | source poll | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
        "#]],
    );
}

#[tokio::test]
async fn what_still_comes_for_a_cancelled_job_is_recorded_and_nothing_more() {
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    scene.cancel(50, "a").await;
    scene.refused(60, "a", 1, unconfirm(false), Settled::Stale).await;
    scene.settle_twice(60, "a", 1, accept("w-1"), Settled::Late).await;
    scene.polling("b").await;
    scene.claim_polls(1100).await;
    scene.cancel(1200, "b").await;
    scene.refused(1300, "b", 2, repoll(""), Settled::Stale).await;
    let dump = scene.settle_twice(1300, "b", 2, complete(), Settled::Late).await;
    check(
        &dump,
        expect![[r#"
            job:a ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 1 | customer-id acme | ended-at 1800000000050 | error cancelled-by-operator: it had been sent; the video may still be made and billed | history +0 accepted, +50 cancelled | polls 0 | posts 1 | result <entry> | revision 1 | source operator | state cancelled | unconfirmed 1 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1
            job:b ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 9948.. | claim 2 | customer-id acme | ended-at 1800000001200 | error cancelled-by-operator: it had been sent; the video may still be made and billed | history +0 accepted, +100 submitted, +1200 cancelled | polls 1 | posts 1 | result <entry> | revision 1 | source operator | state cancelled | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | video-url https://cdn/v.mp4 | whilter-request-id w-1
            results
              #1 client-request-id a | status cancelled | ended-at 1800000000050 | error cancelled-by-operator: it had been sent; the video may still be made and billed | source operator | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | posts 1 | polls 0
              #2 client-request-id b | status cancelled | ended-at 1800000001200 | error cancelled-by-operator: it had been sent; the video may still be made and billed | source operator | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
        "#]],
    );
}

#[tokio::test]
async fn retry_makes_a_waiting_job_due_now() {
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    scene.settle(10, "a", 1, super::requeue()).await;
    scene.twice(done(State::Waiting, 1), async || scene.retry(50, "a", false).await).await;
    assert_eq!(scene.claim_submits(50).await.len(), 1);
    scene.twice(refused("it is being submitted"), async || scene.retry(60, "a", false).await).await;
    scene.polling("b").await;
    scene.twice(done(State::Polling, 1), async || scene.retry(200, "b", false).await).await;
    let why = refused("the API has it; cancel it before it starts over");
    scene.twice(why, async || scene.retry(200, "b", true).await).await;
    assert_eq!(scene.claim_polls(200).await.len(), 1);
    let dump = scene.0.dump().await;
    scene.twice(done(State::Polling, 1), async || scene.retry(210, "b", false).await).await;
    assert_eq!(scene.0.dump().await, dump, "it is being checked");
    scene.twice(Operated::Gone, async || scene.retry(210, "nobody", false).await).await;
}

#[tokio::test]
async fn retry_sends_a_held_job_once_more() {
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    scene.settle(100, "a", 1, unconfirm(true)).await;
    assert_eq!(scene.claim_submits(40_000).await, []);
    let dump = scene
        .twice(done(State::Unconfirmed, 1), async || scene.retry(50_000, "a", false).await)
        .await;
    check(
        &dump,
        expect![[r#"
            job:a
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 1 | customer-id acme | held 1 | history +0 accepted, +100 unconfirmed: time-out, +50000 retried | next-at 1800000050000 | polls 0 | posts 1 | resend 1 | revision 1 | state unconfirmed | unconfirmed 1 | use-case-id birthday | user-id ann | v 1 | worker w1
            unconfirmed
              a 1800000050000
        "#]],
    );
    let held = scene.at(50_000).with_rules(Rules { max_unconfirmed: 0, ..RULES });
    let claimed = held.claim_submits(scene.claimant("w1")).await;
    assert_eq!(claimed.unwrap().0.jobs.len(), 1, "an operator's word is above the rule");
    scene.settle(50_100, "a", 2, unconfirm(true)).await;
    assert_eq!(scene.claim_submits(90_000).await, [], "once");
}

#[tokio::test]
async fn retry_follows_what_the_api_has_and_buys_nothing() {
    let scene = Scene::new().await;
    scene.ended("a", expire()).await;
    let dump =
        scene.twice(done(State::Polling, 2), async || scene.retry(5000, "a", false).await).await;
    check(
        &dump,
        expect![[r#"
            job:a
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 2 | customer-id acme | history +0 accepted, +100 submitted, +1200 expired, +5000 retried | next-at 1800000005000 | polls 0 | posts 1 | retried-at 1800000005000 | revision 2 | state polling | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1
            poll
              a 1800000005000
            results
              #1 client-request-id a | status expired | ended-at 1800000001200 | error poll-deadline: no video in 1 s | source poll | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
        "#]],
    );
    let claimed = scene.claim_polls(6000).await;
    assert_eq!(claimed[0].age, Duration::from_millis(1000), "its deadline counts from the retry");
    let dump = scene.settle_twice(6100, "a", 3, complete(), Settled::Done).await;
    check(
        &dump,
        expect![[r#"
            job:a ttl 100 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 3 | customer-id acme | ended-at 1800000006100 | history +0 accepted, +100 submitted, +1200 expired, +5000 retried, +6100 completed | polls 1 | posts 1 | result <entry> | retried-at 1800000005000 | revision 2 | source poll | state completed | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | video-url https://cdn/v.mp4 | whilter-request-id w-1
            results
              #1 client-request-id a | status expired | ended-at 1800000001200 | error poll-deadline: no video in 1 s | source poll | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
              #2 client-request-id a | status completed | ended-at 1800000006100 | video-url https://cdn/v.mp4 | source poll | accepted-at 1800000000000 | revision 2 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
        "#]],
    );
    let why = refused("it has its video");
    scene.twice(why, async || scene.retry(7000, "a", false).await).await;
}

#[tokio::test]
async fn retry_starts_over_what_the_api_failed_or_never_had() {
    let scene = Scene::new().await;
    scene.ended("a", fail()).await;
    let dump =
        scene.twice(done(State::Waiting, 2), async || scene.retry(5000, "a", false).await).await;
    check(
        &dump,
        expect![[r#"
            job:a
              accepted-at 1800000000000 | also-accepted w-1 | attempts 0 | body-sha1 c809.. | claim 2 | customer-id acme | history +0 accepted, +100 submitted, +1200 failed, +5000 retried | next-at 1800000005000 | polls 0 | posts 1 | retried-at 1800000005000 | revision 2 | state waiting | use-case-id birthday | user-id ann | v 1
            results
              #1 client-request-id a | status failed | ended-at 1800000001200 | error generation-failed: no face found | source poll | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
            submit
              a 1800000005000
        "#]],
    );
    assert_eq!(scene.claim_submits(5000).await.len(), 1);
    scene.waiting("b").await;
    assert_eq!(scene.claim_submits(86_400_000).await, []);
    let dump = scene
        .twice(done(State::Waiting, 2), async || scene.retry(90_000_000, "b", false).await)
        .await;
    check(
        &dump,
        expect![[r#"
            job:a
              accepted-at 1800000000000 | also-accepted w-1 | attempts 0 | body-sha1 c809.. | claim 3 | customer-id acme | history +0 accepted, +100 submitted, +1200 failed, +5000 retried | next-at 1800000005000 | polls 0 | posts 2 | retried-at 1800000005000 | revision 2 | state submitting | use-case-id birthday | user-id ann | v 1 | worker w1
            job:b
              accepted-at 1800000000000 | attempts 0 | body-sha1 9948.. | claim 0 | customer-id acme | history +0 accepted, +86400000 expired, +90000000 retried | next-at 1800090000000 | polls 0 | posts 0 | retried-at 1800090000000 | revision 2 | state waiting | use-case-id birthday | user-id ann | v 1
            leases
              a 1800000065000
            results
              #1 client-request-id a | status failed | ended-at 1800000001200 | error generation-failed: no face found | source poll | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
              #2 client-request-id b | status expired | ended-at 1800086400000 | error submit-deadline: not submitted in time | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | posts 0 | polls 0
            submit
              b 1800090000000
        "#]],
    );
    assert_eq!(scene.claim_submits(90_000_001).await.len(), 1, "its max_age counts anew");
}

#[tokio::test]
async fn retry_starts_over_what_the_api_has_only_when_told() {
    let scene = Scene::new().await;
    scene.ended("a", expire()).await;
    let dump =
        scene.twice(done(State::Waiting, 2), async || scene.retry(5000, "a", true).await).await;
    check(
        &dump,
        expect![[r#"
            job:a
              accepted-at 1800000000000 | also-accepted w-1 | attempts 0 | body-sha1 c809.. | claim 2 | customer-id acme | history +0 accepted, +100 submitted, +1200 expired, +5000 retried | next-at 1800000005000 | polls 0 | posts 1 | retried-at 1800000005000 | revision 2 | state waiting | use-case-id birthday | user-id ann | v 1
            results
              #1 client-request-id a | status expired | ended-at 1800000001200 | error poll-deadline: no video in 1 s | source poll | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 1 | submitted-at 1800000000100
            submit
              a 1800000005000
        "#]],
    );
    scene.polling("b").await;
    scene.cancel(200, "b").await;
    scene.twice(done(State::Polling, 2), async || scene.retry(300, "b", false).await).await;
}

#[tokio::test]
async fn retry_refuses_what_would_end_at_once() {
    let scene = Scene::new().await;
    let (request, mut fields) = super::super::support::job("a");
    fields.expires_at = Some(reelq::job::Millis(super::NOW + 1000));
    scene.at(0).enqueue(&request, &fields).await.unwrap();
    assert_eq!(scene.claim_submits(1000).await, []);
    let why = refused("its expires-at has passed");
    scene.twice(why, async || scene.retry(2000, "a", false).await).await;
    scene.waiting("b").await;
    scene.cancel(10, "b").await;
    let _: u64 = scene.0.command(&["DEL", "reelq:{video}:body:b"]).await;
    let why = refused("its body is gone");
    scene.twice(why, async || scene.retry(2000, "b", false).await).await;
}

#[tokio::test]
async fn resolve_settles_an_unconfirmed_job() {
    let scene = Scene::new().await;
    for name in ["a", "b", "c"] {
        scene.unconfirmed(name).await;
    }
    let accepted = Finding::Accepted("w-7".to_owned());
    let ready = Finding::Ready("https://cdn/v.mp4".to_owned());
    let given_up = Finding::GivenUp("support says it never arrived".to_owned());
    let polling = done(State::Polling, 1);
    scene.twice(polling, async || scene.resolve(500, "a", &accepted).await).await;
    let completed = done(State::Completed, 1);
    scene.twice(completed, async || scene.resolve(500, "b", &ready).await).await;
    let failed = done(State::Failed, 1);
    let dump = scene.twice(failed, async || scene.resolve(500, "c", &given_up).await).await;
    check(
        &dump,
        expect![[r#"
            dead
              c 1800000000500
            job:a
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 1 | customer-id acme | history +0 accepted, +100 unconfirmed: time-out, +500 resolved | next-at 1800000000500 | polls 0 | posts 1 | revision 1 | state polling | submitted-at 1800000000500 | unconfirmed 1 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-7 | worker w1
            job:b ttl 100 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 9948.. | claim 1 | customer-id acme | ended-at 1800000000500 | history +0 accepted, +100 unconfirmed: time-out, +500 completed | polls 0 | posts 1 | result <entry> | revision 1 | source operator | state completed | unconfirmed 1 | use-case-id birthday | user-id ann | v 1 | video-url https://cdn/v.mp4
            job:c ttl 200 s
              accepted-at 1800000000000 | attempts 0 | body-sha1 17b2.. | claim 1 | customer-id acme | ended-at 1800000000500 | error submit-unconfirmed: support says it never arrived | history +0 accepted, +100 unconfirmed: time-out, +500 failed | polls 0 | posts 1 | result <entry> | revision 1 | source operator | state failed | unconfirmed 1 | use-case-id birthday | user-id ann | v 1
            poll
              a 1800000000500
            results
              #1 client-request-id b | status completed | ended-at 1800000000500 | video-url https://cdn/v.mp4 | source operator | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | posts 1 | polls 0
              #2 client-request-id c | status failed | ended-at 1800000000500 | error submit-unconfirmed: support says it never arrived | source operator | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | posts 1 | polls 0
        "#]],
    );
    let why = refused("it is not unconfirmed but polling");
    scene.twice(why, async || scene.resolve(600, "a", &ready).await).await;
    scene.twice(Operated::Gone, async || scene.resolve(600, "nobody", &ready).await).await;
}

#[tokio::test]
async fn the_dead_are_listed_by_their_end() {
    let scene = Scene::new().await;
    scene.ended("b", fail()).await;
    scene.waiting("a").await;
    assert_eq!(scene.claim_submits(86_400_000).await, []);
    let dead = scene.at(86_400_500).dead(None).await.unwrap();
    let listed: Vec<_> = dead.iter().map(|dead| (dead.id.as_str(), dead.code())).collect();
    assert_eq!(listed, [("b", "generation-failed"), ("a", "submit-deadline")]);
    let lately = scene.at(86_400_500).dead(Some(Duration::from_secs(1))).await.unwrap();
    assert_eq!(lately, dead[1..]);
}

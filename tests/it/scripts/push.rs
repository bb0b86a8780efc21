//! Pushes of the API: what they do in every state, by how far they are believed.

use expect_test::expect;
use reelq::queue::{Push, PushOutcome, PushTrust, Settled};

use super::super::support::id;
use super::{Move, Scene, accept, check, complete, repoll, requeue, unconfirm};

pub(super) const URL: &str = "https://cdn/pushed.mp4";
pub(super) const TRUSTS: [PushTrust; 3] =
    [PushTrust::Anybody, PushTrust::Authenticated, PushTrust::Accept];

fn push(name: &str) -> Push {
    Push { id: id(name), user_id: "ann".to_owned(), video_url: URL.to_owned() }
}

impl Scene {
    pub(super) async fn push(&self, after_ms: u64, name: &str, trust: PushTrust) -> PushOutcome {
        self.at(after_ms).push(&push(name), trust).await.unwrap()
    }

    /// Pushes twice: the second call changes nothing, and answers the same or `second`.
    pub(super) async fn push_twice(
        &self,
        after_ms: u64,
        name: &str,
        trust: PushTrust,
        [first, second]: [PushOutcome; 2],
    ) -> String {
        assert_eq!(self.push(after_ms, name, trust).await, first, "{trust:?}");
        let dump = self.0.dump().await;
        assert_eq!(self.push(after_ms, name, trust).await, second, "{trust:?}, again");
        assert_eq!(self.0.dump().await, dump, "a repeated call changes nothing");
        dump
    }

    /// Pushes in vain: nothing is changed.
    async fn push_in_vain(&self, after_ms: u64, push: &Push, trust: PushTrust, to: PushOutcome) {
        let before = self.0.dump().await;
        assert_eq!(self.at(after_ms).push(push, trust).await.unwrap(), to, "{trust:?}");
        assert_eq!(self.0.dump().await, before, "{trust:?}: {to:?} changes nothing");
    }

    pub(super) async fn field(&self, name: &str, field: &str) -> Option<String> {
        let record = self.at(0).record(&id(name)).await.unwrap().unwrap();
        record.get(field).map(str::to_owned)
    }

    pub(super) async fn state(&self, name: &str) -> String {
        self.field(name, "state").await.unwrap()
    }
}

#[tokio::test]
async fn a_push_makes_the_next_check_happen_now() {
    for trust in [PushTrust::Anybody, PushTrust::Authenticated] {
        let scene = Scene::new().await;
        scene.polling("a").await;
        scene.push_twice(500, "a", trust, [PushOutcome::Checked; 2]).await;
        let claimed = scene.claim_polls(500).await;
        assert!(claimed[0].is_pushed, "{trust:?}");
        scene.settle(600, "a", 2, repoll("")).await;
        assert!(!scene.claim_polls(2200).await[0].is_pushed, "its own check, {trust:?}");
    }
    let scene = Scene::new().await;
    scene.polling("a").await;
    let dump = scene.push_twice(500, "a", PushTrust::Anybody, [PushOutcome::Checked; 2]).await;
    check(
        &dump,
        expect![[r#"
            job:a
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 1 | customer-id acme | history +0 accepted, +100 submitted | next-at 1800000000500 | polls 0 | posts 1 | pushed-at 1800000000500 | pushed-url https://cdn/pushed.mp4 | revision 1 | state polling | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1 | worker w1
            poll
              a 1800000000500
        "#]],
    );
}

#[tokio::test]
async fn a_believed_push_ends_the_job_with_its_url() {
    let scene = Scene::new().await;
    scene.polling("a").await;
    let codes = [PushOutcome::Completed, PushOutcome::Known];
    let dump = scene.push_twice(500, "a", PushTrust::Accept, codes).await;
    check(
        &dump,
        expect![[r#"
        job:a ttl 100 s
          accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 1 | customer-id acme | ended-at 1800000000500 | history +0 accepted, +100 submitted, +500 completed | polls 0 | posts 1 | result <entry> | revision 1 | source webhook | state completed | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | video-url https://cdn/pushed.mp4 | whilter-request-id w-1
        results
          #1 client-request-id a | status completed | ended-at 1800000000500 | video-url https://cdn/pushed.mp4 | source webhook | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 0 | submitted-at 1800000000100
    "#]],
    );
    // Also while it is being checked, whose answer then comes late.
    let scene = Scene::new().await;
    scene.polling("a").await;
    scene.claim_polls(1100).await;
    scene.push_twice(1200, "a", PushTrust::Accept, codes).await;
    scene.refused(1300, "a", 2, repoll(""), Settled::Stale).await;
    scene.refused(1300, "a", 2, complete(), Settled::Done).await;
    assert_eq!(scene.field("a", "video-url").await.as_deref(), Some(URL));
}

#[tokio::test]
async fn a_push_during_a_check_makes_one_more_due_at_once() {
    for trust in [PushTrust::Anybody, PushTrust::Authenticated] {
        let scene = Scene::new().await;
        scene.polling("a").await;
        scene.claim_polls(1100).await;
        scene.push_twice(1150, "a", trust, [PushOutcome::Checked; 2]).await;
        assert_eq!(scene.claim_polls(1160).await, [], "it is in hand");
        scene.settle_twice(1200, "a", 2, repoll(""), Settled::Done).await;
        let claimed = scene.claim_polls(1200).await;
        assert!(claimed[0].is_pushed, "{trust:?}");
        scene.settle_twice(1300, "a", 3, repoll(""), Settled::Done).await;
        assert_eq!(scene.claim_polls(2000).await, [], "that was it");
    }
}

#[tokio::test]
async fn a_job_is_checked_for_pushes_once_a_second() {
    let scene = Scene::new().await;
    scene.polling("a").await;
    scene.settle(100, "a", 1, accept("w-1")).await;
    assert_eq!(scene.push(200, "a", PushTrust::Authenticated).await, PushOutcome::Checked);
    assert_eq!(scene.claim_polls(200).await.len(), 1);
    let far = Move::Repoll {
        delay: std::time::Duration::from_secs(60),
        streak: String::new(),
        event: "poll".to_owned(),
    };
    scene.settle(300, "a", 2, far).await;
    assert_eq!(scene.push(400, "a", PushTrust::Authenticated).await, PushOutcome::Checked);
    assert_eq!(scene.claim_polls(1199).await, []);
    assert_eq!(scene.claim_polls(1200).await.len(), 1);
}

/// The forged ones are put off, and a job whose own check comes first needs none.
#[tokio::test]
async fn pushes_that_anybody_may_have_sent_make_20_checks_a_second_in_all() {
    let scene = Scene::new().await;
    let names: Vec<String> = (0..40).map(|number| format!("j{number}")).collect();
    for name in &names {
        scene.polling(name).await;
    }
    let mut codes = Vec::new();
    for name in &names {
        codes.push(scene.push(100, name, PushTrust::Anybody).await);
    }
    let (checked, soon) = codes.split_at(20);
    assert!(checked.iter().all(|it| *it == PushOutcome::Checked), "{codes:?}");
    assert!(soon.iter().all(|it| *it == PushOutcome::Soon), "{codes:?}");
    assert_eq!(scene.claim_polls(100).await.len(), 1);
    assert_eq!(scene.claim_polls(200).await.len(), 2);
    assert_eq!(scene.claim_polls(1099).await.len(), 17);
    assert_eq!(scene.claim_polls(1100).await.len(), 20, "their own checks");
}

#[tokio::test]
async fn authenticated_pushes_are_not_slowed_down() {
    let scene = Scene::new().await;
    for number in 0..40 {
        let name = format!("j{number}");
        scene.polling(&name).await;
        assert_eq!(scene.push(100, &name, PushTrust::Authenticated).await, PushOutcome::Checked);
    }
    assert_eq!(scene.claim_polls(100).await.len(), 40);
}

#[tokio::test]
async fn an_early_push_waits_for_the_answer_to_its_post() {
    for trust in TRUSTS {
        let scene = Scene::new().await;
        scene.submitting("a", 0).await;
        scene.push_twice(50, "a", trust, [PushOutcome::Kept; 2]).await;
        let believed = trust == PushTrust::Accept;
        let settled = if believed { Settled::Pushed } else { Settled::Done };
        let dump = scene.settle_twice(100, "a", 1, accept("w-1"), settled).await;
        if believed {
            check(
                &dump,
                expect![[r#"
                    job:a ttl 100 s
                      accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 1 | customer-id acme | ended-at 1800000000100 | history +0 accepted, +100 completed | polls 0 | posts 1 | push-trust accept | pushed-at 1800000000050 | pushed-url https://cdn/pushed.mp4 | result <entry> | revision 1 | source webhook | state completed | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | video-url https://cdn/pushed.mp4 | whilter-request-id w-1
                    results
                      #1 client-request-id a | status completed | ended-at 1800000000100 | video-url https://cdn/pushed.mp4 | source webhook | accepted-at 1800000000000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | posts 1 | polls 0 | submitted-at 1800000000100
                "#]],
            );
        } else {
            let claimed = scene.claim_polls(100).await;
            assert!(claimed[0].is_pushed, "{trust:?}: its first check is due at once");
        }
    }
}

#[tokio::test]
async fn what_the_api_has_pushed_is_not_bought_again() {
    for after in [unconfirm(false), unconfirm(true), requeue()] {
        for trust in [PushTrust::Authenticated, PushTrust::Accept] {
            // The push came before the POST failed, ...
            let scene = Scene::new().await;
            scene.submitting("a", 0).await;
            scene.push_twice(50, "a", trust, [PushOutcome::Kept; 2]).await;
            scene.settle_twice(100, "a", 1, after.clone(), Settled::Done).await;
            let (claimed, ended) =
                scene.at(2100).claim_submits(scene.claimant("w1")).await.unwrap();
            assert_eq!((claimed.jobs.len(), ended.completed), (0, 1), "{after:?}");
            assert_eq!(scene.state("a").await, "completed");
            assert_eq!(scene.field("a", "source").await.as_deref(), Some("webhook"));
            assert_eq!(scene.field("a", "posts").await.as_deref(), Some("1"));

            // ... or after it.
            let scene = Scene::new().await;
            scene.submitting("a", 0).await;
            scene.settle(100, "a", 1, after.clone()).await;
            let codes = [PushOutcome::Completed, PushOutcome::Known];
            scene.push_twice(200, "a", trust, codes).await;
            assert_eq!(scene.field("a", "video-url").await.as_deref(), Some(URL));
            for place in ["submit", "unconfirmed", "poll", "leases"] {
                assert!(!scene.0.exists(place).await, "{after:?}: it is in {place}");
            }
        }
    }
}

/// It shows that the API may have the job, and nothing more.
#[tokio::test]
async fn what_anybody_may_have_pushed_puts_the_resubmit_off_once() {
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    scene.settle(10, "a", 1, unconfirm(false)).await;
    let dump = scene.push_twice(20_000, "a", PushTrust::Anybody, [PushOutcome::Kept; 2]).await;
    check(
        &dump,
        expect![[r#"
            job:a
              accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 1 | customer-id acme | history +0 accepted, +10 unconfirmed: time-out | next-at 1800000050000 | polls 0 | posts 1 | pushed-at 1800000020000 | pushed-url https://cdn/pushed.mp4 | revision 1 | state unconfirmed | unconfirmed 1 | use-case-id birthday | user-id ann | v 1 | worker w1
            unconfirmed
              a 1800000050000
        "#]],
    );
    assert_eq!(scene.push(40_000, "a", PushTrust::Anybody).await, PushOutcome::Kept);
    assert_eq!(scene.claim_submits(49_999).await.len(), 0);
    assert_eq!(scene.claim_submits(50_000).await.len(), 1, "it is sent again");

    // The same when the push came before the time-out.
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    scene.push(5, "a", PushTrust::Anybody).await;
    scene.settle(10, "a", 1, unconfirm(false)).await;
    assert_eq!(scene.claim_submits(59_999).await.len(), 0);
    assert_eq!(scene.claim_submits(60_000).await.len(), 1);

    // One that is held stays held.
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    scene.settle(10, "a", 1, unconfirm(true)).await;
    scene.push(20, "a", PushTrust::Anybody).await;
    assert_eq!(scene.claim_submits(3_600_000).await.len(), 0);
}

#[tokio::test]
async fn a_push_that_is_none_of_a_job_changes_nothing() {
    for trust in TRUSTS {
        let scene = Scene::new().await;
        scene.push_in_vain(100, &push("nobody"), trust, PushOutcome::Unknown).await;
        scene.polling("polled").await;
        let foreign = Push { user_id: "bob".to_owned(), ..push("polled") };
        scene.push_in_vain(200, &foreign, trust, PushOutcome::Foreign).await;
        scene.claim_polls(1100).await;
        scene.settle(1200, "polled", 2, complete()).await;
        scene.push_in_vain(1300, &push("polled"), trust, PushOutcome::Known).await;
        scene.waiting("unsent").await;
        scene.push_in_vain(100, &push("unsent"), trust, PushOutcome::Unsent).await;
    }
}

/// What the API itself has said stands, whatever others say.
#[tokio::test]
async fn a_forged_push_replaces_no_authenticated_one() {
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    scene.push(10, "a", PushTrust::Authenticated).await;
    let forged = Push { video_url: "https://evil/v.mp4".to_owned(), ..push("a") };
    scene.at(20).push(&forged, PushTrust::Anybody).await.unwrap();
    assert_eq!(scene.field("a", "pushed-url").await.as_deref(), Some(URL));
}

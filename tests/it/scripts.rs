//! Every script on its own: what it does to the whole key space, what it answers, and that a
//! repeated call (its first reply was lost) answers the same and changes nothing.

use std::fmt::Debug;
use std::time::Duration;

use expect_test::{Expect, expect};
use reelq::job::{Claim, Entry, ErrorCode, Fault, UnknownFields};
use reelq::queue::{
    Admission, End, Hands, Lost, MAX_RECOVERIES, Move, PollClaim, Queue, QueueError, Retention,
    Settled, Settlement, SubmitClaim, SubmitRules,
};

use super::support::{TestQueue, id, job};

const NOW: u64 = 1_800_000_000_000;
const LEASE: Duration = Duration::from_secs(60);
const RULES: SubmitRules = SubmitRules {
    max_age: Duration::from_secs(86_400),
    grace: Duration::from_secs(30),
    max_resends: 2,
};
const RETENTION: Retention =
    Retention { completed: Duration::from_secs(100), failed: Duration::from_secs(200) };

/// A queue whose clock stands, at `NOW` plus some milliseconds.
struct Scene(TestQueue);

impl Scene {
    async fn new() -> Self {
        let scene = Self(TestQueue::start().await);
        scene.0.queue.create_group().await.unwrap();
        scene
    }

    fn at(&self, after_ms: u64) -> Queue {
        self.0.queue.at(NOW + after_ms)
    }

    /// Enqueues a job, which then waits.
    async fn waiting(&self, name: &str) {
        assert_eq!(self.at(0).enqueue_many(&[job(name)]).await.unwrap(), [Admission::Waiting]);
    }

    /// A job in the hands of `w1` to be submitted, under claim 1, claimed at `after_ms`.
    async fn submitting(&self, name: &str, after_ms: u64) {
        self.waiting(name).await;
        assert_eq!(self.claim_submits(after_ms).await.len(), 1);
    }

    async fn claim_submits(&self, after_ms: u64) -> Vec<SubmitClaim> {
        let queue = self.at(after_ms);
        queue.claim_submits(("w1", LEASE), 100, RULES, RETENTION).await.unwrap().jobs
    }

    async fn claim_polls(&self, after_ms: u64) -> Vec<PollClaim> {
        self.at(after_ms).claim_polls(("w1", LEASE), 100).await.unwrap().jobs
    }

    /// A job that was accepted at 100 ms, to be checked at 1100 ms.
    async fn polling(&self, name: &str) {
        self.submitting(name, 0).await;
        assert_eq!(self.settle(100, name, 1, accept("w-1")).await, Settled::Done);
    }

    async fn settle(&self, after_ms: u64, name: &str, claim: u64, to: Move) -> Settled {
        let settlement = Settlement { id: id(name), claim: Claim(claim), to };
        self.at(after_ms).settle(&[settlement], RULES, RETENTION).await.unwrap()[0]
    }

    /// Settles twice: the second call answers the same and changes nothing.
    async fn settle_twice(
        &self,
        after_ms: u64,
        name: &str,
        claim: u64,
        to: Move,
        expected: Settled,
    ) -> String {
        self.twice(expected, async || self.settle(after_ms, name, claim, to.clone()).await).await
    }

    /// Calls twice: the second call answers the same and changes nothing. Returns the dump.
    async fn twice<T: PartialEq + Debug>(&self, expected: T, call: impl AsyncFn() -> T) -> String {
        assert_eq!(call().await, expected);
        let dump = self.0.dump().await;
        assert_eq!(call().await, expected, "a repeated call answers as the first did");
        assert_eq!(self.0.dump().await, dump, "a repeated call changes nothing");
        dump
    }

    /// Settles, and finds that nothing was changed.
    async fn refused(&self, after_ms: u64, name: &str, claim: u64, to: Move, expected: Settled) {
        let before = self.0.dump().await;
        assert_eq!(self.settle(after_ms, name, claim, to).await, expected);
        assert_eq!(self.0.dump().await, before, "a refusal changes nothing");
    }

    /// An entry on the inbox stream, delivered to `w1`.
    async fn delivered(&self, fields: &[(&str, &str)]) -> (String, Entry) {
        let mut words = vec!["XADD", "reelq:{video}:jobs", "*"];
        words.extend(fields.iter().flat_map(|(name, value)| [*name, *value]));
        let entry_id: String = self.0.command(&words).await;
        let _delivered: redis::Value = self
            .0
            .command(&[
                "XREADGROUP",
                "GROUP",
                "workers",
                "w1",
                "STREAMS",
                "reelq:{video}:jobs",
                ">",
            ])
            .await;
        let bytes = |text: &str| text.as_bytes().to_vec();
        let fields = fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
        (entry_id, Entry::read(fields, UnknownFields::Reject))
    }

    async fn admit(&self, free: usize, entries: &[(String, Entry)]) -> Vec<Admission> {
        let hands = Hands { worker: "w1", lease: LEASE, free };
        self.at(0).admit(hands, entries).await.unwrap().admissions
    }
}

fn accept(whilter_request_id: &str) -> Move {
    let whilter_request_id = whilter_request_id.to_owned();
    Move::Accept { whilter_request_id, first_check_in: Duration::from_millis(1000) }
}

fn requeue() -> Move {
    let event = "retry: 500".to_owned();
    Move::Requeue { delay: Duration::from_millis(2000), spends_attempt: true, event }
}

fn unconfirm(hold: bool) -> Move {
    Move::Unconfirm { event: "unconfirmed: time-out".to_owned(), hold }
}

fn repoll(streak: &str) -> Move {
    Move::Repoll { delay: Duration::from_millis(1600), streak: streak.to_owned() }
}

fn complete() -> Move {
    let end = End::Completed { video_url: Some("https://cdn/v.mp4".to_owned()), image_url: None };
    Move::Finish { end, source: "poll" }
}

fn fail() -> Move {
    let fault = Fault::new(ErrorCode::GenerationFailed, "no face found");
    Move::Finish { end: End::Failed(fault), source: "poll" }
}

/// Shows a dump without the parts that are beside the point of most tests.
fn check(dump: &str, expected: Expect) {
    let beside = ["body:", "jobs", "counters"];
    let mut shown = String::new();
    let mut skip = false;
    for line in dump.lines() {
        if !line.starts_with(' ') {
            skip = beside.iter().any(|name| line.starts_with(name));
        }
        if !skip {
            shown.push_str(line);
            shown.push('\n');
        }
    }
    expected.assert_eq(&shown);
}

const BODY: &str =
    r#"{"client-request-id":"a","customer-id":"acme","use-case-id":"birthday","user-id":"ann"}"#;

#[tokio::test]
async fn admit_puts_an_entry_into_free_hands() {
    let scene = Scene::new().await;
    let entry = [scene.delivered(&[("job", BODY), ("meta", "order 7")]).await];
    let admit = async || scene.admit(1, &entry).await;
    let dump = scene.twice(vec![Admission::Leased], admit).await;
    let dump = dump.replace(&entry[0].0, "<entry>");
    expect![[r#"
        body:a
          {"client-request-id":"a","cust
        counters
          accepted 1
        job:a
          accepted-at 1800000000000 | attempts 0 | begun-at 1800000000000 | body-sha1 c662.. | claim 1 | customer-id acme | entry-id <entry> | history +0 accepted | meta order 7 | polls 0 | posts 1 | revision 1 | state submitting | use-case-id birthday | user-id ann | v 1 | worker w1
        jobs
          group workers: 0 pending
        leases
          a 1800000060000
    "#]].assert_eq(&dump);
}

#[tokio::test]
async fn admit_lets_an_entry_wait_when_no_hands_are_free() {
    let scene = Scene::new().await;
    let entry = [scene.delivered(&[("job", BODY)]).await];
    let dump = scene.twice(vec![Admission::Waiting], async || scene.admit(0, &entry).await).await;
    check(
        &dump.replace(&entry[0].0, "<entry>"),
        expect![[r#"
        job:a
          accepted-at 1800000000000 | attempts 0 | body-sha1 c662.. | claim 0 | customer-id acme | entry-id <entry> | history +0 accepted | next-at 1800000000000 | polls 0 | posts 0 | revision 1 | state waiting | use-case-id birthday | user-id ann | v 1
        submit
          a 1800000000000
    "#]],
    );
}

#[tokio::test]
async fn admit_lets_an_entry_wait_until_its_time_or_while_paused_or_behind_what_is_due() {
    let scene = Scene::new().await;
    let later = (NOW + 5000).to_string();
    let entry = [scene.delivered(&[("job", BODY), ("not-before", &later)]).await];
    assert_eq!(scene.admit(5, &entry).await, [Admission::Waiting]);
    let _: () = scene.0.command(&["SET", "reelq:{video}:paused", "holiday"]).await;
    let entry = [scene.delivered(&[("job", &BODY.replace("\"a\"", "\"b\""))]).await];
    assert_eq!(scene.admit(5, &entry).await, [Admission::Waiting]);
    let _: () = scene.0.command(&["DEL", "reelq:{video}:paused"]).await;
    let entry = [scene.delivered(&[("job", &BODY.replace("\"a\"", "\"c\""))]).await];
    assert_eq!(scene.admit(5, &entry).await, [Admission::Waiting], "b is due and goes first");
}

#[tokio::test]
async fn admit_counts_a_duplicate_and_keeps_a_conflict_aside() {
    let scene = Scene::new().await;
    let first = [scene.delivered(&[("job", BODY)]).await];
    assert_eq!(scene.admit(0, &first).await, [Admission::Waiting]);
    let other = BODY.replace("ann", "bob");
    let again =
        [scene.delivered(&[("job", BODY)]).await, scene.delivered(&[("job", &other)]).await];
    let codes = vec![Admission::Duplicate, Admission::Conflict];
    let dump = scene.twice(codes, async || scene.admit(5, &again).await).await;
    let dump = dump
        .replace(&first[0].0, "<first>")
        .replace(&again[0].0, "<second>")
        .replace(&again[1].0, "<third>");
    expect![[r#"
        body:a
          {"client-request-id":"a","cust
        counters
          accepted 1 | conflict 1 | duplicate 1
        job:a
          accepted-at 1800000000000 | attempts 0 | body-sha1 c662.. | claim 0 | customer-id acme | entry-id <first> | history +0 accepted | next-at 1800000000000 | polls 0 | posts 0 | revision 1 | state waiting | use-case-id birthday | user-id ann | v 1
        jobs
          group workers: 0 pending
        rejected
          #1 client-request-id a | entry-id <third> | reason conflict: another body was accepted under this id | job {"client-request-id":"a","customer-id":"acme","use-case-id":"birthday","user-id":"bob"}
        submit
          a 1800000000000
    "#]].assert_eq(&dump);
}

#[tokio::test]
async fn admit_rejects_what_is_no_request_and_publishes_why() {
    let scene = Scene::new().await;
    let entry = [scene
        .delivered(&[("job", r#"{"client-request-id":"a","phrase_texts":[]}"#), ("meta", "m")])
        .await];
    let dump = scene.twice(vec![Admission::Rejected], async || scene.admit(5, &entry).await).await;
    expect![[r#"
        counters
          rejected 1
        jobs
          group workers: 0 pending
        rejected
          #1 client-request-id a | entry-id <entry> | reason invalid-job: phrase_texts: unknown field; did you mean "phrase-texts"?; customer-id: missing; use-case-id: missing; user-id: missing | job {"client-request-id":"a","phrase_texts":[]}
        results
          #1 entry-id <entry> | status rejected | error invalid-job: phrase_texts: unknown field; did you mean "phrase-texts"?; customer-id: missing; use-case-id: missing; user-id: missing | ended-at 1800000000000 | client-request-id a | meta m
    "#]].assert_eq(&dump.replace(&entry[0].0, "<entry>"));
}

#[tokio::test]
async fn admit_looks_at_the_identity_before_anything_else() {
    let scene = Scene::new().await;
    scene.waiting("a").await;
    let entry = [scene.delivered(&[("job", r#"{"client-request-id":"a"}"#)]).await];
    assert_eq!(scene.admit(5, &entry).await, [Admission::Conflict]);
}

#[tokio::test]
async fn admit_recognises_one_id_five_times_in_one_batch() {
    let scene = Scene::new().await;
    let mut entries = Vec::new();
    for _ in 0..5 {
        entries.push(scene.delivered(&[("job", BODY)]).await);
    }
    let admitted = scene.admit(5, &entries).await;
    assert_eq!(admitted[0], Admission::Leased);
    assert_eq!(admitted[1..], [Admission::Duplicate; 4]);
}

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
          accepted-at 1800000000000 | attempts 0 | begun-at 1800000000010 | body-sha1 c809.. | claim 1 | customer-id acme | history +0 accepted | polls 0 | posts 1 | revision 1 | state submitting | use-case-id birthday | user-id ann | v 1 | worker w1
        leases
          a 1800000060010
    "#]],
    );
    assert_eq!(scene.claim_submits(10).await, [], "a job is claimed once");
}

#[tokio::test]
async fn claim_submit_says_when_the_next_is_due_and_respects_the_pause() {
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    assert_eq!(scene.settle(0, "a", 1, requeue()).await, Settled::Done);
    let claimed = scene.at(500).claim_submits(("w1", LEASE), 9, RULES, RETENTION).await.unwrap();
    assert_eq!((claimed.jobs.len(), claimed.next_in), (0, Some(Duration::from_millis(1500))));
    let _: () = scene.0.command(&["SET", "reelq:{video}:paused", "holiday"]).await;
    let before = scene.0.dump().await;
    let claimed = scene.at(9000).claim_submits(("w1", LEASE), 9, RULES, RETENTION).await.unwrap();
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
          accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 0 | customer-id acme | ended-at 1800086400000 | error submit-deadline: not submitted in time | history +0 accepted, +86400000 expired | polls 0 | posts 0 | revision 1 | state expired | use-case-id birthday | user-id ann | v 1
        results
          #1 client-request-id a | status expired | ended-at 1800086400000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | error submit-deadline: not submitted in time | posts 0 | polls 0 | accepted-at 1800000000000
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
          accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 1 | customer-id acme | history +0 accepted, +100 submitted | next-at 1800000001100 | polls 0 | posts 1 | revision 1 | state polling | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1
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
          accepted-at 1800000000000 | attempts 0 | body-sha1 55dc.. | claim 1 | customer-id acme | history +0 accepted, +10 unconfirmed: time-out, +100 submitted | next-at 1800000001100 | polls 0 | posts 1 | revision 1 | state polling | submitted-at 1800000000100 | unconfirmed 1 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1
        job:waiting
          accepted-at 1800000000000 | attempts 1 | body-sha1 3748.. | claim 1 | customer-id acme | history +0 accepted, +10 retry: 500, +100 submitted | next-at 1800000001100 | polls 0 | posts 1 | retries 1 | revision 1 | state polling | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1
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
          accepted-at 1800000000000 | attempts 0 | body-sha1 0046.. | claim 1 | customer-id acme | ended-at 1800000000010 | error generation-failed: no face found | history +0 accepted, +10 failed | polls 0 | posts 1 | revision 1 | source poll | state failed | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-3
        job:twice
          accepted-at 1800000000000 | also-accepted w-2 | attempts 0 | body-sha1 165a.. | claim 1 | customer-id acme | history +0 accepted, +100 submitted | next-at 1800000001100 | polls 0 | posts 1 | revision 1 | state polling | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1
        poll
          twice 1800000001100
        results
          #1 client-request-id ended | status failed | ended-at 1800000000010 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | error generation-failed: no face found | source poll | posts 1 | polls 0 | accepted-at 1800000000000
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
          accepted-at 1800000000000 | attempts 1 | body-sha1 c809.. | claim 1 | customer-id acme | history +0 accepted, +100 retry: 500 | next-at 1800000002100 | polls 0 | posts 1 | retries 1 | revision 1 | state waiting | use-case-id birthday | user-id ann | v 1
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
          accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 1 | customer-id acme | history +0 accepted, +20000 unconfirmed: time-out | next-at 1800000030000 | polls 0 | posts 1 | revision 1 | state unconfirmed | unconfirmed 1 | use-case-id birthday | user-id ann | v 1
        unconfirmed
          a 1800000030000
    "#]],
    );
    assert_eq!(scene.claim_submits(29_999).await, [], "the grace runs from the POST's begin");
    for claim in [2, 3] {
        let now = 100_000 * claim;
        assert_eq!(scene.claim_submits(now).await[0].unanswered, u32::try_from(claim - 1).unwrap());
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
          accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 3 | customer-id acme | ended-at 1800086400000 | error submit-unconfirmed: a POST was sent, its answer never came | history +0 accepted, +20000 unconfirmed: time-out, +200000 unconfirmed: time-out, +300000 unconfirmed: time-out, +86400000 failed | polls 0 | posts 3 | revision 1 | state failed | unconfirmed 3 | use-case-id birthday | user-id ann | v 1
        results
          #1 client-request-id a | status failed | ended-at 1800086400000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | error submit-unconfirmed: a POST was sent, its answer never came | posts 3 | polls 0 | accepted-at 1800000000000
    "#]],
    );
}

#[tokio::test]
async fn unconfirm_can_hold_a_job() {
    let scene = Scene::new().await;
    scene.submitting("a", 0).await;
    scene.settle_twice(100, "a", 1, unconfirm(true), Settled::Done).await;
    let claimed = scene.at(60_000).claim_submits(("w1", LEASE), 9, RULES, RETENTION).await.unwrap();
    assert_eq!((claimed.jobs, claimed.next_in), (vec![], Some(Duration::from_secs(86_340))));
}

#[tokio::test]
async fn claim_poll_takes_what_is_due_and_tells_what_a_check_needs() {
    let scene = Scene::new().await;
    scene.polling("a").await;
    assert_eq!(scene.claim_polls(1099).await, []);
    let claimed = scene.claim_polls(1150).await;
    let expected = PollClaim {
        id: id("a"),
        claim: Claim(2),
        whilter_request_id: "w-1".to_owned(),
        polls: 1,
        late_by: Duration::from_millis(50),
        age: Duration::from_millis(1050),
        expires_in: None,
        streak: None,
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
        job:a
          accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 4 | customer-id acme | history +0 accepted, +100 submitted, +1200 poll, +5100 poll | next-at 1800000006700 | polls 3 | posts 1 | revision 1 | state polling | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1
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
        counters
          accepted 1 | completed 1 | polled 1 | submitted 1
        job:a ttl 100 s
          accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 2 | customer-id acme | ended-at 1800000001200 | history +0 accepted, +100 submitted, +1200 completed | polls 1 | posts 1 | revision 1 | source poll | state completed | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | video-url https://cdn/v.mp4 | whilter-request-id w-1
        jobs
          group workers: 0 pending
        results
          #1 client-request-id a | status completed | ended-at 1800000001200 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | video-url https://cdn/v.mp4 | source poll | posts 1 | polls 1 | accepted-at 1800000000000 | submitted-at 1800000000100
    "#]].assert_eq(&dump);
    scene.refused(1300, "a", 2, fail(), Settled::Late).await;
    scene.refused(1300, "a", 2, repoll(""), Settled::Stale).await;
    scene.refused(1300, "nobody", 2, complete(), Settled::Gone).await;
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
          accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 2 | customer-id acme | ended-at 1800000001200 | error generation-failed: no face found | history +0 accepted, +100 submitted, +1200 failed | polls 1 | posts 1 | revision 1 | source poll | state failed | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1
        results
          #1 client-request-id a | status failed | ended-at 1800000001200 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | error generation-failed: no face found | source poll | posts 1 | polls 1 | accepted-at 1800000000000 | submitted-at 1800000000100
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
          accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 3 | customer-id acme | ended-at 1800000070001 | history +0 accepted, +100 submitted, +70000 lease lost, +70001 completed | polls 1 | posts 1 | revision 1 | source poll | state completed | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | video-url https://cdn/v.mp4 | whilter-request-id w-1
        results
          #1 client-request-id a | status completed | ended-at 1800000070001 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | whilter-request-id w-1 | video-url https://cdn/v.mp4 | source poll | posts 1 | polls 1 | accepted-at 1800000000000 | submitted-at 1800000000100
    "#]],
    );
}

impl Scene {
    async fn reclaim(&self, after_ms: u64) -> usize {
        self.at(after_ms).reclaim(Lost::Overdue, RULES, RETENTION).await.unwrap().taken
    }
}

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
          accepted-at 1800000000000 | attempts 0 | body-sha1 b4dd.. | claim 3 | customer-id acme | history +0 accepted, +100 submitted, +61100 lease lost | next-at 1800000061100 | polls 1 | posts 1 | recoveries 1 | revision 1 | state polling | submitted-at 1800000000100 | use-case-id birthday | user-id ann | v 1 | whilter-request-id w-1
        job:submit
          accepted-at 1800000000000 | attempts 0 | body-sha1 6003.. | claim 2 | customer-id acme | history +0 accepted, +61100 lease lost | next-at 1800000030000 | polls 0 | posts 1 | recoveries 1 | revision 1 | state unconfirmed | unconfirmed 1 | use-case-id birthday | user-id ann | v 1
        poll
          poll 1800000061100
        unconfirmed
          submit 1800000030000
    "#]],
    );
}

#[tokio::test]
async fn reclaim_takes_back_what_a_dead_worker_held_and_leaves_the_living_alone() {
    let scene = Scene::new().await;
    scene.submitting("mine", 0).await;
    scene.waiting("theirs").await;
    let theirs = scene.at(0).claim_submits(("w2", LEASE), 9, RULES, RETENTION).await.unwrap();
    assert_eq!(theirs.jobs.len(), 1);
    let dead = Lost::Worker { name: "w2", skip: 0 };
    let reclaimed = scene.at(100).reclaim(dead, RULES, RETENTION).await.unwrap();
    assert_eq!((reclaimed.taken, reclaimed.seen), (1, 2));
    check(
        &scene.0.dump().await,
        expect![[r#"
        job:mine
          accepted-at 1800000000000 | attempts 0 | begun-at 1800000000000 | body-sha1 3a55.. | claim 1 | customer-id acme | history +0 accepted | polls 0 | posts 1 | revision 1 | state submitting | use-case-id birthday | user-id ann | v 1 | worker w1
        job:theirs
          accepted-at 1800000000000 | attempts 0 | body-sha1 42eb.. | claim 2 | customer-id acme | history +0 accepted, +100 lease lost | next-at 1800000030000 | polls 0 | posts 1 | recoveries 1 | revision 1 | state unconfirmed | unconfirmed 1 | use-case-id birthday | user-id ann | v 1
        leases
          mine 1800000060000
        unconfirmed
          theirs 1800000030000
    "#]],
    );
}

#[tokio::test]
async fn reclaim_ends_a_job_that_kills_its_workers() -> Result<(), QueueError> {
    let scene = Scene::new().await;
    scene.waiting("a").await;
    let patient = SubmitRules { max_resends: 100, ..RULES };
    for crash in 0..MAX_RECOVERIES {
        let queue = scene.at(u64::from(crash) * 100_000);
        assert_eq!(queue.claim_submits(("w1", LEASE), 9, patient, RETENTION).await?.jobs.len(), 1);
        let later = scene.at(u64::from(crash) * 100_000 + 60_000);
        assert_eq!(later.reclaim(Lost::Overdue, patient, RETENTION).await?.taken, 1);
    }
    check(
        &scene.0.dump().await,
        expect![[r#"
        dead
          a 1800000460000
        job:a ttl 200 s
          accepted-at 1800000000000 | attempts 0 | body-sha1 c809.. | claim 10 | customer-id acme | ended-at 1800000460000 | error crash-loop: its worker ended 5 times while submitting it | history +0 accepted, +60000 lease lost, +160000 lease lost, +260000 lease lost, +360000 lease lost, +460000 failed | polls 0 | posts 5 | revision 1 | state failed | unconfirmed 4 | use-case-id birthday | user-id ann | v 1
        results
          #1 client-request-id a | status failed | ended-at 1800000460000 | revision 1 | user-id ann | customer-id acme | use-case-id birthday | error crash-loop: its worker ended 5 times while submitting it | posts 5 | polls 0 | accepted-at 1800000000000
    "#]],
    );
    Ok(())
}

#[tokio::test]
async fn tick_beats_and_tells_what_is_due_and_who_is_silent() -> Result<(), QueueError> {
    let scene = Scene::new().await;
    scene.at(0).tick("w2").await?;
    scene.polling("a").await;
    let tick = scene.at(3999).tick("w1").await?;
    assert_eq!(tick.silent, Vec::<String>::new());
    assert_eq!((tick.submit_in, tick.poll_in), (None, Some(Duration::ZERO)));
    scene.waiting("b").await;
    let tick = scene.at(4000).tick("w1").await?;
    assert_eq!((tick.silent, tick.submit_in), (vec!["w2".to_owned()], Some(Duration::ZERO)));
    Ok(())
}

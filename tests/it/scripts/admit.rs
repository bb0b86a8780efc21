//! Admission: an entry becomes a job, a duplicate, a conflict or a reject.

use expect_test::expect;
use reelq::queue::Admission;

use super::{NOW, Scene, check};

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
        claimed:admit:w1 ttl 60 s
          1 a
        counters
          accepted 1
        job:a
          accepted-at 1800000000000 | attempts 0 | body-sha1 c662.. | claim 1 | customer-id acme | entry-id <entry> | history +0 accepted | meta order 7 | polls 0 | posts 1 | revision 1 | state submitting | use-case-id birthday | user-id ann | v 1 | worker w1
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

/// The intake and the rescuer may both have been given an entry: only one of them hands it over.
#[tokio::test]
async fn an_entry_comes_into_the_same_hands_once() {
    let scene = Scene::new().await;
    let entry = [scene.delivered(&[("job", BODY)]).await];
    assert_eq!(scene.admit_as(1, 1, &entry).await, [Admission::Leased]);
    assert_eq!(scene.admit_as(2, 1, &entry).await, [Admission::Waiting], "another admission");
    assert_eq!(scene.admit_as(0, 0, &entry).await, [Admission::Waiting], "the rescuer");

    let entry = [scene.delivered(&[("job", &BODY.replace("\"a\"", "\"b\""))]).await];
    assert_eq!(scene.admit_as(0, 0, &entry).await, [Admission::Waiting]);
    assert_eq!(scene.claim_submits(0).await.len(), 1, "under the same claim number");
    assert_eq!(scene.admit_as(3, 1, &entry).await, [Admission::Waiting]);
}

/// A video that nobody wants any more is not bought.
#[tokio::test]
async fn an_entry_whose_time_is_over_is_not_begun() {
    let scene = Scene::new().await;
    let over = (NOW - 1).to_string();
    let entry = [scene.delivered(&[("job", BODY), ("expires-at", &over)]).await];
    assert_eq!(scene.admit(1, &entry).await, [Admission::Waiting]);
    assert_eq!(scene.claim_submits(0).await, []);
    let record: Vec<String> =
        scene.0.command(&["HMGET", "reelq:{video}:job:a", "state", "posts"]).await;
    assert_eq!(record, ["expired", "0"]);
}

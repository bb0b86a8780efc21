//! What producers should not send, and do: every entry is rejected with the fault named, and the
//! worker goes on.

use std::time::Duration;

use super::support::processes::{Site, body, faultless};

const SOON: Duration = Duration::from_secs(20);

/// Bodies that are no request, with what the result must name.
fn bad_bodies() -> Vec<(Vec<u8>, &'static str)> {
    let valid = body("bad");
    let with = |from: &str, to: &str| valid.replace(from, to).into_bytes();
    let mut not_utf8 = with("Hello", "Hell?");
    let at = not_utf8.iter().position(|byte| *byte == b'?').unwrap();
    not_utf8[at] = 0xff;
    vec![
        (b"nonsense".to_vec(), "not JSON"),
        (b"".to_vec(), "not JSON"),
        (b"[]".to_vec(), "JSON object"),
        (with("\"ann\"", "7"), "user-id"),
        (with("[\"Hello\"]", "\"Hello\""), "phrase-texts"),
        (with("\"user-id\":\"ann\",", ""), "user-id"),
        (with("\"acme\"", "\"\""), "customer-id"),
        (with("phrase-texts", "phrase_texts"), "phrase-texts"),
        (with("\"user-id\"", "\"user-id\":\"x\",\"user-id\""), "user-id"),
        (with("\"bad\"", "\"a b\""), "client-request-id"),
        (with("\"Hello\"", &format!("\"{}\"", "x".repeat(300_000))), "body"),
        (with("[\"Hello\"]", &"[".repeat(20_000)), "not JSON"),
        (not_utf8, "not JSON"),
    ]
}

#[tokio::test]
async fn bad_input_is_rejected_with_its_fault_named_and_the_worker_goes_on() {
    let site = Site::new(faultless()).await;
    let worker = site.worker();
    let bad = bad_bodies();
    for (number, (bad, _)) in bad.iter().enumerate() {
        let words: [&[u8]; 5] = [b"XADD", b"reelq:{video}:jobs", b"*", b"job", bad];
        let _: String = site.queue.raw_command(words).await;
        site.xadd(&body(&format!("good-{number}"))).await;
    }
    // Fields beside the body, and names that are no text.
    let beside: [(&[&[u8]], &str); 4] = [
        (&[b"job", b"{}", b"not-before", b"tomorrow"], "not-before"),
        (&[b"\xff\xfe", b"\x00"], "job"),
        (&[b"job", b"{}", b"meta", &[b'x'; 5000]], "meta"),
        (&[b"job", b"{}", b"job", b"{}"], "job"),
    ];
    for (fields, _) in &beside {
        let mut words: Vec<&[u8]> = vec![b"XADD", b"reelq:{video}:jobs", b"*"];
        words.extend(*fields);
        let _: String = site.queue.raw_command(words).await;
    }
    site.results_reach(2 * bad.len() + beside.len(), SOON).await;
    assert_eq!(worker.stop().await, Some(0));

    let results = site.queue.queue.results_after("0").read(999, SOON).await.unwrap();
    let mut rejected: Vec<_> = results.iter().filter(|it| it.status() == "rejected").collect();
    rejected.sort_by_key(|result| entry_order(result.get("entry-id").unwrap()));
    let named = bad.iter().map(|(_, named)| named).chain(beside.iter().map(|(_, named)| named));
    assert_eq!(rejected.len(), bad.len() + beside.len());
    for (result, named) in rejected.iter().zip(named) {
        let error = result.get("error").unwrap();
        assert!(error.starts_with("invalid-job: "), "{error}");
        assert!(error.contains(named), "{error:?} does not name {named:?}");
        assert!(error.len() <= 500);
    }
    let completed = results.iter().filter(|it| it.status() == "completed").count();
    assert_eq!(completed, bad.len(), "every good job between them");
    let aside: usize = site.queue.command(&["XLEN", "reelq:{video}:rejected"]).await;
    assert_eq!(aside, rejected.len());
}

fn entry_order(entry_id: &str) -> (u64, u64) {
    let (ms, sequence) = entry_id.split_once('-').unwrap();
    (ms.parse().unwrap(), sequence.parse().unwrap())
}

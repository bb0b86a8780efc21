//! One job as producers in several languages write it: Python puts spaces and escapes what is not
//! ASCII, Node does neither, people order fields as they like.
//!
//! The languages' own JSON writers are asked, where they are installed; the test says which are
//! not.

use std::time::Duration;

use tokio::process::Command;

use super::support::processes::{Site, faultless};
use super::support::skipped;

const SOON: Duration = Duration::from_secs(20);
/// As somebody writes it for curl or redis-cli.
const BY_HAND: &str = r#"{ "phrase-texts": ["Für Zoë 🎉", "a/b"],
  "user-id":"ann", "use-case-id":"birthday", "customer-id":"acme",
  "client-request-id":"order-7" }"#;
const PYTHON: &str = r#"
import json
print(json.dumps({"client-request-id": "order-7", "customer-id": "acme", "user-id": "ann",
    "use-case-id": "birthday", "phrase-texts": ["Für Zoë 🎉", "a/b"], "image-urls": None}), end="")
"#;
const NODE: &str = r#"
process.stdout.write(JSON.stringify({ "use-case-id": "birthday", "client-request-id": "order-7",
  "phrase-texts": ["Für Zoë 🎉", "a/b"], "customer-id": "acme", "user-id": "ann" }));
"#;

/// What a program prints; `None`, and said so, where it is not installed.
async fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let Ok(output) = Command::new(program).args(arguments).output().await else {
        skipped(&format!("a request as {program} writes it: there is no {program}"));
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn the_same_fields_are_one_job_whoever_wrote_them() {
    let site = Site::new(faultless()).await;
    let mut others = Vec::new();
    others.extend(printed("python3", &["-X", "utf8", "-c", PYTHON]).await);
    others.extend(printed("node", &["-e", NODE]).await);
    site.xadd(BY_HAND).await;
    for other in &others {
        assert_ne!(other, BY_HAND);
        site.xadd(other).await;
    }
    let worker = site.worker();
    site.results_reach(1, SOON).await;
    assert_eq!(worker.stop().await, Some(0));

    assert_eq!(site.ends().await, [("order-7".to_owned(), "completed".to_owned())]);
    assert_eq!(site.counter("accepted").await, 1);
    assert_eq!(site.counter("duplicate").await, others.len() as u64);
    assert_eq!(site.counter("conflict").await, 0);
    assert_eq!(site.sandbox.posts_of("order-7"), 1);
    assert_eq!(site.sandbox.body_of("order-7").as_deref(), Some(BY_HAND.as_bytes()));
    // Another value is another request.
    let another = BY_HAND.replace("a/b", "a b");
    let output = site.run_with_input(&["enqueue"], another.as_bytes()).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(site.counter("conflict").await, 1);
}

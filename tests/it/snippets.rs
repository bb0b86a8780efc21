//! The README's examples in Python and Node: what they enqueue is a job, and its result is read
//! and acknowledged by them.
//!
//! They need the clients of the two languages, which are not this project's to install:
//! `REELQ_PYTHON` names an interpreter that has the package redis, `REELQ_NODE` a folder whose
//! node_modules have it. Where a name is not set, its test says so and passes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reelq::job::{Claim, Entry, JobId, UnknownFields};
use reelq::queue::{Admission, End, Hands, Inbox, Move, Settled, Settlement, Source};
use tokio::process::Command;

use super::support::{TestQueue, id};

const MINUTE: Duration = Duration::from_secs(60);
const URL: &str = "https://videos.example.com/1.mp4";

#[tokio::test]
async fn python_enqueues_and_reads_results() {
    let Some(python) = setting("REELQ_PYTHON") else { return };
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples/python");
    let script = |name: &str| examples.join(name).with_extension("py");
    enqueues_and_reads_results(&python, &script("enqueue"), &script("results")).await;
}

#[tokio::test]
async fn node_enqueues_and_reads_results() {
    let Some(folder) = setting("REELQ_NODE") else { return };
    // A module is looked for beside the script that imports it, and above.
    let copy = |name: &str| {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples/node").join(name);
        let script = folder.join(name);
        std::fs::copy(example, &script).unwrap();
        script
    };
    let (enqueue, results) = (copy("enqueue.mjs"), copy("results.mjs"));
    enqueues_and_reads_results(Path::new("node"), &enqueue, &results).await;
}

/// The value of an environment variable; says that the test is skipped where there is none.
fn setting(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    if value.is_none() {
        super::support::skipped(&format!("an example of the README: {name} is not set"));
    }
    value.map(PathBuf::from)
}

async fn enqueues_and_reads_results(interpreter: &Path, enqueue: &Path, results: &Path) {
    let test = TestQueue::start().await;
    test.queue.create_group().await.unwrap();
    let run = async |script: &Path, argument: &[&str]| {
        let mut command = Command::new(interpreter);
        command.arg(script).args(argument).env("REDIS_URL", &test.url).kill_on_drop(true);
        let output = tokio::time::timeout(MINUTE, command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };

    assert!(run(enqueue, &["order-7"]).await.starts_with("order-7 "));
    complete_the_one_job(&test, id("order-7")).await;

    assert_eq!(run(results, &["--count", "1"]).await, format!("order-7 completed {URL}\n"));
    let pending: Vec<redis::Value> =
        test.command(&["XPENDING", "reelq:{video}:results", "my-app"]).await;
    assert_eq!(pending.first(), Some(&redis::Value::Int(0)), "acknowledged");
}

/// Takes the only entry of the inbox through its life, as a worker would.
async fn complete_the_one_job(test: &TestQueue, id: JobId) {
    let entries = Inbox::new(&test.queue, "w1".to_owned()).read().await.unwrap();
    let entries: Vec<(String, Entry)> = entries
        .into_iter()
        .map(|raw| (raw.entry_id, Entry::read(raw.fields, UnknownFields::Reject)))
        .collect();
    let hands = Hands { worker: "w1", free: 1, number: 1 };
    let admitted = test.queue.admit(hands, &entries).await.unwrap();
    assert_eq!(admitted.admissions, [Admission::Leased], "{entries:?}");
    let accept = Move::Accept { whilter_request_id: "w-1".into(), first_check_in: Duration::ZERO };
    let end = End::Completed { video_url: Some(URL.to_owned()), image_url: None };
    for to in [accept, Move::Finish { end, source: Source::Poll }] {
        let settlement = Settlement { id: id.clone(), claim: Claim(1), to };
        let settled = test.queue.settle("w", &[settlement]).await.unwrap();
        assert_eq!(settled, [Settled::Done]);
    }
}

//! The README's examples in Python and Node: what they enqueue is a job, and its result is read
//! and acknowledged by them. And those over HTTP, with curl too.
//!
//! They need the clients of the two languages, which are not this project's to install:
//! `REELQ_PYTHON` names an interpreter that has the package redis, `REELQ_NODE` a folder whose
//! node_modules have it. Where a name is not set, its test says so and passes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reelq::job::{Claim, Entry, JobId, UnknownFields};
use reelq::queue::{Admission, End, Hands, Inbox, Move, Settled, Settlement, Source};
use tokio::process::Command;

use super::support::processes::{Site, faultless};
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

#[tokio::test]
async fn python_has_a_video_made_over_http() {
    let Some(python) = setting("REELQ_PYTHON") else { return };
    has_a_video_made(&python, "tests/examples/python/over_http.py").await;
}

#[tokio::test]
async fn node_has_a_video_made_over_http() {
    let Some(_) = setting("REELQ_NODE") else { return };
    has_a_video_made(Path::new("node"), "tests/examples/node/over-http.mjs").await;
}

/// Runs a script beside a gateway that wants a key, a worker and the sandbox.
async fn has_a_video_made(interpreter: &Path, script: &str) {
    let site = Site::new(faultless()).await.with("REELQ_GATEWAY__API_KEYS", "shop:open-sesame");
    let (gateway, worker) = (site.gateway().await, site.worker());
    let run = async |key: &str| {
        let mut command = Command::new(interpreter);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).arg("order/7");
        command.env("REELQ_URL", format!("http://{}", gateway.http.0)).env("REELQ_KEY", key);
        let output = tokio::time::timeout(MINUTE, command.kill_on_drop(true).output());
        output.await.unwrap().unwrap()
    };
    let output = run("wrong").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("401"), "{output:?}");
    // The second time, it is the same job.
    for _ in 0..2 {
        let output = run("open-sesame").await;
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.starts_with("order/7 completed https://"), "{output:?}");
    }
    assert_eq!(site.sandbox.posts_of("order/7"), 1);
    assert_eq!(worker.stop().await, Some(0));
}

/// The curl commands of the README, one after the other, with what they print.
#[tokio::test]
async fn curl_does_what_the_readme_says() {
    let readme = include_str!("../../README.md");
    let section = readme.split("\n## ").find(|it| it.starts_with("Over HTTP")).unwrap();
    let site = Site::new(faultless()).await;
    let (gateway, worker) = (site.gateway().await, site.worker());
    let expected = [
        r#"{"client-request-id":"order-9","status":"accepted"}"#,
        r#""status":"completed""#,
        r#"{"results":[{"#,
        r#"{"client-request-id":"order-9","status":"202"}"#,
    ];
    let commands: Vec<&str> = section.lines().filter(|it| it.starts_with("curl ")).collect();
    assert_eq!(commands.len(), expected.len(), "{commands:?}");
    for (command, expected) in commands.into_iter().zip(expected) {
        assert!(command.contains("127.0.0.1:8787"), "{command}");
        let command = command.replace("127.0.0.1:8787", &gateway.http.0);
        let output = Command::new("sh").arg("-c").arg(&command).kill_on_drop(true).output();
        let output = tokio::time::timeout(MINUTE, output).await.unwrap().unwrap();
        assert!(output.status.success(), "is curl there? {command}: {output:?}");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(expected), "{command}: {said}");
    }
    assert_eq!(worker.stop().await, Some(0));
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

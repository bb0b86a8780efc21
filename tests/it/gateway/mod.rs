//! The gateway from outside: real processes, spoken to over HTTP.
//!
//! - `jobs`: enqueueing, asking, cancelling and reading results.
//! - `access`: keys, secrets, addresses, and what is seen of them.
//! - `push`: the remote API's push, whole lives and each state of a job.
//! - `crowd`: many who wait, many pushes.
//! - `hostile`: what no client should send.
//! - `outage`: a Redis that is gone, silent or full.

mod access;
mod crowd;
mod hostile;
mod jobs;
mod outage;
mod push;

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::support::processes::Http;

const SOON: Duration = Duration::from_secs(20);
const PUSH: &str = "/video-push-endpoint";
const SECRET: &str = "push-secret";

/// A push as the API would send it, for a user of `processes::body`.
fn pushed(id: &str, url: &str) -> String {
    serde_json::json!({"client-request-id": id, "user-id": "ann", "video-url": url}).to_string()
}

/// Lets this process open thousands of connections, as the gateway lets itself.
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

impl Http {
    /// Pushes; the status of the answer.
    async fn push(&self, id: &str, url: &str, token: Option<&str>) -> u16 {
        let headers: Vec<_> = token.map(|it| ("x-webhook-token", it)).into_iter().collect();
        self.send_with(reqwest::Method::POST, PUSH, pushed(id, url), &headers).await.0
    }

    async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, serde_json::Value) {
        self.send(reqwest::Method::POST, path, body).await
    }

    async fn show(&self, path: &str) -> (u16, serde_json::Value) {
        self.send(reqwest::Method::GET, path, "").await
    }

    async fn delete(&self, path: &str) -> (u16, serde_json::Value) {
        self.send(reqwest::Method::DELETE, path, "").await
    }
}

//! The API's push: a finished video is announced to the webhook (docs/contract.md, section 1).
//!
//! One task takes pushes from the API's side and holds a small task for each until its video is
//! ready; all of them end with the sandbox.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::state::{Push, Shared};
use super::stats::Endpoint;

const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Pushes on their way at one time.
const CONCURRENCY: usize = 64;

/// What is sent.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Body<'a> {
    client_request_id: &'a str,
    user_id: &'a str,
    video_url: &'a str,
}

/// Makes pushes until the sandbox ends.
pub(super) async fn run(shared: Arc<Shared>, mut pushes: mpsc::UnboundedReceiver<Push>) {
    // Most sandboxes never push: a client, with its certificates, is made for the first one.
    let Some(mut next) = pushes.recv().await else { return };
    // Refused if the program has chosen its own before, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "the sandbox cannot push");
            return;
        }
    };
    let slots = Arc::new(Semaphore::new(CONCURRENCY));
    let mut tasks = JoinSet::new();
    loop {
        tasks.spawn(deliver(Arc::clone(&shared), client.clone(), Arc::clone(&slots), next));
        while tasks.try_join_next().is_some() {}
        next = match pushes.recv().await {
            Some(push) => push,
            None => return,
        };
    }
}

async fn deliver(shared: Arc<Shared>, client: reqwest::Client, slots: Arc<Semaphore>, push: Push) {
    wait_until_ready(&shared, push.accepted_at).await;
    let _slot = slots.acquire().await;
    let body = Body {
        client_request_id: &push.client_request_id,
        user_id: &push.user_id,
        video_url: &push.video_url,
    };
    let mut pause = FIRST_PAUSE;
    for attempt in 1..=TRIES {
        let answer = client.post(push.webhook.clone()).json(&body).send().await;
        let status = answer.ok().map(|answer| answer.status());
        shared.lock().calls.count_code(Endpoint::Push, status.map(|status| status.as_u16()));
        if status.is_some_and(|status| status.is_success()) {
            return;
        }
        if attempt < TRIES {
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
    tracing::warn!(push.tries = TRIES, "a push to the webhook was given up");
}

/// Follows `ready_after`, which may change meanwhile.
async fn wait_until_ready(shared: &Shared, accepted_at: Instant) {
    let mut ready_after = shared.lock().watch_ready_after();
    loop {
        let after = *ready_after.borrow_and_update();
        let left = after.saturating_sub(accepted_at.elapsed());
        // Its sender is gone only when the sandbox is: then nobody waits for this either.
        if left.is_zero()
            || matches!(tokio::time::timeout(left, ready_after.changed()).await, Ok(Err(_)))
        {
            return;
        }
    }
}

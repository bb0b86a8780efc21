//! The API's push: a finished video is announced to the webhook (docs/contract.md, section 1).
//!
//! One task takes pushes from the API's side and holds a small task for each until its video is
//! ready; all of them end with the sandbox. What goes wrong on purpose is decided when a push is
//! due, except for early ones: their submits wait for them.

use std::cmp::Reverse;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::options::PushFaults;
use super::state::{Push, Shared};
use super::stats::{Endpoint, Pushes};

const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Pushes on their way at one time.
const CONCURRENCY: usize = 64;
/// The header that a secret is sent in.
const SECRET_HEADER: &str = "x-webhook-token";

/// What is sent.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Body<'a> {
    client_request_id: &'a str,
    user_id: &'a str,
    video_url: &'a str,
}

/// What all pushes share.
struct Pusher {
    shared: Arc<Shared>,
    client: reqwest::Client,
    slots: Semaphore,
    /// Those that are due and held back, to leave the last first.
    held: Mutex<Vec<Push>>,
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
    let (slots, held) = (Semaphore::new(CONCURRENCY), Mutex::default());
    let pusher = Arc::new(Pusher { shared, client, slots, held });
    let mut tasks = JoinSet::new();
    loop {
        let pusher = Arc::clone(&pusher);
        tasks.spawn(async move { pusher.announce(next).await });
        while tasks.try_join_next().is_some() {}
        next = match pushes.recv().await {
            Some(push) => push,
            None => return,
        };
    }
}

impl Pusher {
    /// Pushes a video in its time, as well or as wrongly as asked for.
    async fn announce(&self, push: Push) {
        let early = push.early.is_some();
        if !early {
            wait_until_due(&self.shared, push.accepted_at).await;
        }
        let Some(faults) = self.faults(&push) else { return };
        let leaving = if early || faults.reversed.is_zero() {
            vec![push]
        } else {
            self.hold_back(push, faults.reversed).await
        };
        let (late, reversed) = (!early && !faults.late.is_zero(), leaving.len() > 1);
        for push in leaving {
            self.count(|pushes| {
                pushes.sent += 1;
                pushes.late += u64::from(late);
                pushes.reversed += u64::from(reversed);
                pushes.early += u64::from(early);
            });
            self.deliver(push, faults).await;
        }
    }

    /// What goes wrong with this push; `None`: it is lost.
    fn faults(&self, push: &Push) -> Option<PushFaults> {
        let mut state = self.shared.lock();
        let faults = state.options.push;
        if state.chance.loses_push(&push.client_request_id, faults.lost_rate) {
            state.pushed.lost += 1;
            return None;
        }
        Some(faults)
    }

    /// Holds a push back with those that come in this time. Whose push was the first gets them
    /// all, the last one first; the others get none.
    async fn hold_back(&self, push: Push, time: Duration) -> Vec<Push> {
        let is_first = {
            let mut held = self.held();
            held.push(push);
            held.len() == 1
        };
        if !is_first {
            return Vec::new();
        }
        tokio::time::sleep(time).await;
        let mut leaving = mem::take(&mut *self.held());
        leaving.sort_by_key(|push| Reverse(push.accepted_at));
        leaving
    }

    fn held(&self) -> MutexGuard<'_, Vec<Push>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a push, with a false one before it and again after it if that was asked for.
    async fn deliver(&self, mut push: Push, faults: PushFaults) {
        let _slot = self.slots.acquire().await;
        if faults.forged {
            self.count(|pushes| pushes.forged += 1);
            self.send(&push, &push.forged_url, None).await;
        }
        if self.try_often(&mut push).await && faults.twice {
            self.count(|pushes| pushes.repeated += 1);
            self.try_often(&mut push).await;
        }
    }

    /// Sends a push until it succeeds; false: it never did.
    async fn try_often(&self, push: &mut Push) -> bool {
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=TRIES {
            let secret = self.shared.lock().options.webhook_secret.clone();
            let succeeded = self.send(push, &push.video_url, secret).await;
            // The answer to an early one's submit waits for the first try and for no other.
            push.early = None;
            if succeeded {
                return true;
            }
            if attempt < TRIES {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
        tracing::warn!(push.tries = TRIES, "a push to the webhook was given up");
        false
    }

    /// Sends a push once; whether it succeeded.
    async fn send(&self, push: &Push, video_url: &str, secret: Option<String>) -> bool {
        let (client_request_id, user_id) = (&push.client_request_id, &push.user_id);
        let body = Body { client_request_id, user_id, video_url };
        let mut request = self.client.post(push.webhook.clone()).json(&body);
        if let Some(secret) = secret {
            request = request.header(SECRET_HEADER, secret);
        }
        let status = request.send().await.ok().map(|answer| answer.status());
        let code = status.map(|status| status.as_u16());
        self.shared.lock().calls.count_code(Endpoint::Push, code);
        status.is_some_and(|status| status.is_success())
    }

    fn count(&self, count: impl FnOnce(&mut Pushes)) {
        count(&mut self.shared.lock().pushed);
    }
}

/// Follows the time at which pushes are due, which may change meanwhile.
async fn wait_until_due(shared: &Shared, accepted_at: Instant) {
    let mut push_after = shared.lock().watch_push_after();
    loop {
        let after = *push_after.borrow_and_update();
        let left = after.saturating_sub(accepted_at.elapsed());
        // Its sender is gone only when the sandbox is: then nobody waits for this either.
        if left.is_zero()
            || matches!(tokio::time::timeout(left, push_after.changed()).await, Ok(Err(_)))
        {
            return;
        }
    }
}

//! A local stand-in for the remote API (docs/contract.md, section 9): strict where the
//! documentation is, with faults on demand. `reelq sandbox`, the demo and the tests start it.
//!
//! A call goes `server` (connection, body, latency) → `api` (endpoints) → `state` (one lock), with
//! `submission` (what a valid body is), `rules` (faults by rule), `odd` (good answers written oddly),
//! `faults` (chance, limit), `ledger` (what was accepted) and `push` (finished videos) beside;
//! `control` is what the real API does not have.
//!
//! Nothing here uses `whilter`, `job` or `config`: names and rules are written anew from the
//! documentation, so that a mistake there meets a disagreement here. It knows the documentation,
//! not the real service. All it holds is in memory and gone with it.

mod answer;
mod api;
mod control;
mod faults;
mod ledger;
mod odd;
mod options;
mod push;
mod rules;
mod server;
mod state;
mod stats;
mod submission;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use ledger::Moments;
pub use options::{API_KEY, CLIENT_ID, CLIENT_SECRET, Mode, Options, PushFaults};
pub use rules::FaultRule;
pub use stats::{Endpoint, Pushes, Stats};

use state::Shared;

/// A running sandbox; dropping it ends it, with every connection.
pub struct Sandbox {
    addr: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// Starts a sandbox on tasks of the current runtime.
///
/// # Errors
/// The address cannot be listened on.
pub async fn start(options: Options) -> io::Result<Sandbox> {
    let listener = TcpListener::bind(options.listen).await?;
    let addr = listener.local_addr()?;
    let (sender, pushes) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::new(options, sender));
    let mut tasks = JoinSet::new();
    tasks.spawn(server::run(listener, Arc::clone(&shared)));
    tasks.spawn(push::run(Arc::clone(&shared), pushes));
    let sandbox = Sandbox { addr, shared, tasks };
    tracing::info!(sandbox.addr = %addr, sandbox.seed = sandbox.stats().seed, "sandbox started");
    Ok(sandbox)
}

impl Sandbox {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Submits of this client-request-id that arrived with a valid body, whatever the answer.
    #[must_use]
    pub fn posts_of(&self, client_request_id: &str) -> u64 {
        self.shared.lock().ledger.posted(client_request_id).map_or(0, |posted| posted.posts)
    }

    /// Submits of this client-request-id that were accepted: what would have been billed.
    #[must_use]
    pub fn accepted_of(&self, client_request_id: &str) -> u64 {
        self.shared.lock().ledger.posted(client_request_id).map_or(0, |posted| posted.accepted)
    }

    /// Status checks of this client-request-id's videos, whatever the answer.
    #[must_use]
    pub fn checks_of(&self, client_request_id: &str) -> u64 {
        self.shared.lock().ledger.posted(client_request_id).map_or(0, |posted| posted.checks)
    }

    /// The moments of a life as the API saw it; `None`: no valid submit of this
    /// client-request-id has arrived.
    #[must_use]
    pub fn moments_of(&self, client_request_id: &str) -> Option<Moments> {
        self.shared.lock().ledger.moments(client_request_id)
    }

    /// The last of these submits' body, as received; `None` also once 64 MiB of bodies are kept.
    #[must_use]
    pub fn body_of(&self, client_request_id: &str) -> Option<Vec<u8>> {
        let state = self.shared.lock();
        state.ledger.posted(client_request_id)?.body.as_deref().map(<[u8]>::to_vec)
    }

    /// Changes options from the next call on; `listen` and `seed` are not looked at again.
    pub fn set(&self, change: impl FnOnce(&mut Options)) {
        self.shared.lock().change(change);
    }

    /// Lets every token issued so far be refused.
    pub fn revoke_tokens(&self) {
        self.shared.lock().revoke_tokens();
    }

    /// Ends it: nothing listens any more when this returns. Calls in hand get no answer.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

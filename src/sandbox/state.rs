//! What all connections share: one short lock around everything that changes.
//!
//! `server` and `control` take it once a call, and nobody awaits while holding it. Tokens live here;
//! what was accepted is the ledger's, and what is to be announced goes to `push` over a channel.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use url::Url;

use super::faults::{Bucket, Chance};
use super::ledger::Ledger;
use super::options::Options;
use super::stats::{Calls, Pushes, Stats};

/// What all connections share.
pub(super) struct Shared {
    state: Mutex<State>,
    in_hand: AtomicUsize,
    peak: AtomicUsize,
}

/// What changes.
pub(super) struct State {
    pub(super) options: Options,
    pub(super) chance: Chance,
    pub(super) bucket: Bucket,
    pub(super) ledger: Ledger,
    pub(super) calls: Calls,
    pub(super) pushes: mpsc::UnboundedSender<Push>,
    pub(super) pushed: Pushes,
    push_after: watch::Sender<Duration>,
    /// When each token was issued.
    tokens: HashMap<String, Instant>,
}

/// A push to be made when the video is ready.
pub(super) struct Push {
    pub(super) webhook: Url,
    pub(super) accepted_at: Instant,
    pub(super) client_request_id: String,
    pub(super) user_id: String,
    pub(super) video_url: String,
    /// What a false push names instead.
    pub(super) forged_url: String,
    /// It is made at once, and the answer to its submit waits until this is dropped.
    pub(super) early: Option<oneshot::Sender<()>>,
}

/// One call in hand, as long as it lives.
pub(super) struct InHand<'a>(&'a Shared);

impl Shared {
    pub(super) fn new(options: Options, pushes: mpsc::UnboundedSender<Push>) -> Self {
        // A random one is short, so that it can be typed again.
        let seed = options.seed.unwrap_or_else(|| fastrand::u32(..).into());
        let state = State {
            chance: Chance::new(seed),
            bucket: Bucket::full(Instant::now()),
            ledger: Ledger::new(seed),
            calls: Calls::default(),
            pushes,
            pushed: Pushes::default(),
            push_after: watch::Sender::new(push_after(&options)),
            tokens: HashMap::new(),
            options,
        };
        Self { state: Mutex::new(state), in_hand: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Counts and options are whole between any two statements: a panic elsewhere spoils none.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call as in hand until the result is dropped.
    pub(super) fn enter(&self) -> InHand<'_> {
        let in_hand = self.in_hand.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(in_hand, Ordering::Relaxed);
        InHand(self)
    }

    pub(super) fn stats(&self) -> Stats {
        let state = self.lock();
        let totals = state.ledger.totals();
        Stats {
            seed: state.chance.seed,
            calls: state.calls.by_endpoint(),
            pushes: state.pushed,
            posts: totals.posts,
            max_posts_per_id: totals.max_posts_per_id,
            accepted: totals.accepted,
            accepted_ids: totals.accepted_ids,
            duplicates: totals.accepted - totals.accepted_ids,
            peak_concurrency: self.peak.load(Ordering::Relaxed),
        }
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.in_hand.fetch_sub(1, Ordering::Relaxed);
    }
}

impl State {
    /// Changes options; pushes that wait follow a changed `ready_after` and lateness.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Options)) {
        change(&mut self.options);
        self.push_after.send_replace(push_after(&self.options));
    }

    /// Follows the time from a request's acceptance to its push as it changes.
    pub(super) fn watch_push_after(&self) -> watch::Receiver<Duration> {
        self.push_after.subscribe()
    }

    pub(super) fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }

    pub(super) fn issue_token(&mut self, now: Instant) -> String {
        if self.options.single_token {
            self.revoke_tokens();
        }
        let ttl = self.options.token_ttl;
        self.tokens.retain(|_, issued_at| lives(*issued_at, ttl, now));
        let token = self.chance.token();
        self.tokens.insert(token.clone(), now);
        token
    }

    /// Whether a token was issued here, has not been revoked and is still alive.
    pub(super) fn knows_token(&self, token: &str, now: Instant) -> bool {
        let issued_at = self.tokens.get(token);
        issued_at.is_some_and(|issued_at| lives(*issued_at, self.options.token_ttl, now))
    }
}

fn push_after(options: &Options) -> Duration {
    options.ready_after.saturating_add(options.push.late)
}

fn lives(issued_at: Instant, ttl: Duration, now: Instant) -> bool {
    now.saturating_duration_since(issued_at) < ttl
}

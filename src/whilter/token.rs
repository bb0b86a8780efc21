//! The access token: fetched when needed, shared by all calls, renewed ahead of its end.
//!
//! `client` asks for it before each call. Invariants: never two token calls at once; whoever waits
//! for one shares what it brings, success or failure; a failure is remembered for a while, so that
//! a burst of callers is one call. A fetch runs as a task of its own: a caller that gives up
//! neither breaks it off nor lends it its deadline. The token URL holds the client secret and is
//! never shown, nor is an answer to it (an error page may quote it).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::answer::Answer;
use super::body::Body;
use super::transport::{Outgoing, Transport};
use super::wire;
use crate::config::{Api, Secret};

/// The life of a token that does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);
/// No token is believed to live longer.
const LONGEST_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a failure answers for the next callers; doubled by each further one, up to the cap.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);
const FAILURE_HOLDS_AT_MOST: Duration = Duration::from_secs(30);
/// A token that is refused before it is so old was revoked by somebody.
const EARLY: Duration = Duration::from_secs(60);
/// The shortest time from a token that was revoked early to the next; doubled by each further one,
/// up to the cap, so that processes that revoke each other make no storm of token calls.
const AFTER_EARLY: Duration = Duration::from_secs(1);
const AFTER_EARLY_AT_MOST: Duration = Duration::from_secs(30);

/// How long a fetch waits for the fleet's turn while nobody is known to revoke our tokens.
const TURN_PATIENCE: Duration = Duration::from_secs(3);

/// Returns when the fleet may fetch another token.
pub type TokenTurn = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What a call shows to the API.
pub(super) struct Access {
    /// Told apart from the token before it.
    pub(super) generation: u64,
    /// `Bearer <token>`.
    pub(super) authorization: HeaderValue,
    /// `x-api-key`.
    pub(super) api_key: HeaderValue,
    arrived_at: Instant,
    renew_at: Instant,
    ends_at: Instant,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoToken {
    /// The API refuses our credentials.
    Refused(String),
    /// It could not be fetched now.
    Unavailable(String),
    /// It was not our turn in time, or others revoke our tokens: that says nothing of the API.
    NotTried(String),
}

/// The source of tokens.
pub(super) struct Tokens {
    transport: Arc<Transport>,
    url: Url,
    request_timeout: Duration,
    client_id: String,
    client_secret: Secret,
    api_key: Secret,
    fleet_turn: TokenTurn,
    state: Mutex<State>,
    /// Whoever holds it may fetch.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    generation: u64,
    access: Option<Arc<Access>>,
    failure: Option<Failure>,
    /// When the API last took a token of ours.
    worked_at: Option<Instant>,
    /// How many tokens in a row were revoked early.
    revoked: u32,
    /// Not before this may the next one be fetched.
    next_at: Option<Instant>,
}

impl State {
    /// The API refuses the token of this generation: it is not used any more.
    fn refused(&mut self, stale: Option<u64>, now: Instant) {
        let Some(access) = self.access.take_if(|it| Some(it.generation) == stale) else { return };
        if now >= access.arrived_at + EARLY {
            (self.revoked, self.next_at) = (0, None);
            return;
        }
        let pause = AFTER_EARLY * 2_u32.saturating_pow(self.revoked.min(16));
        self.next_at = Some(access.arrived_at + pause.min(AFTER_EARLY_AT_MOST));
        self.revoked = self.revoked.saturating_add(1);
        if self.revoked > 1 {
            let (times, pause_s) = (self.revoked, pause.min(AFTER_EARLY_AT_MOST).as_secs());
            tracing::warn!(
                times,
                pause_s,
                "the API refused our token soon after it came, again: either it refuses api.api_key, \
                 or other processes use the same client_id and it allows one token only; fetching \
                 them more slowly"
            );
        }
    }
}

struct Failure {
    why: NoToken,
    at: Instant,
    holds: Duration,
}

impl Tokens {
    pub(super) fn new(
        api: &Api,
        url: Url,
        transport: Arc<Transport>,
        fleet_turn: TokenTurn,
    ) -> Arc<Self> {
        Arc::new(Self {
            transport,
            url,
            request_timeout: api.request_timeout,
            client_id: api.client_id.clone(),
            client_secret: api.client_secret.clone(),
            api_key: api.api_key.clone(),
            fleet_turn,
            state: Mutex::default(),
            turn: Arc::default(),
        })
    }

    /// A token, but not that of the generation `stale`: the API refused it.
    pub(super) async fn get(
        self: &Arc<Self>,
        stale: Option<u64>,
        deadline: Instant,
    ) -> Result<Arc<Access>, NoToken> {
        let asked_at = Instant::now();
        self.state().refused(stale, asked_at);
        if let Some(known) = self.known(asked_at) {
            self.renew_ahead(asked_at);
            return known;
        }
        let late = |_| NoToken::NotTried("no token in time".to_owned());
        let turn = Arc::clone(&self.turn).lock_owned();
        let turn = timeout_at(deadline, turn).await.map_err(late)?;
        // Whoever had the turn before may have brought what we came for.
        if let Some(known) = self.known(asked_at) {
            return known;
        }
        let fetch = tokio::spawn(Arc::clone(self).renew(turn));
        // A task that panicked or was shut down leaves nothing behind, and that is said below.
        let _ = timeout_at(deadline, fetch).await.map_err(late)?;
        let nothing = || Err(NoToken::Unavailable("the token call was broken off".to_owned()));
        self.known(asked_at).unwrap_or_else(nothing)
    }

    /// The API took a token.
    pub(super) fn worked(&self) {
        self.state().worked_at = Some(Instant::now());
    }

    /// Whether there is a newer token than this one.
    pub(super) fn is_superseded(&self, generation: u64) -> bool {
        self.state().generation > generation
    }

    /// Whether other processes seem to revoke our tokens. Then a token that has just come is refused,
    /// as the one before it was, although the API took our tokens until lately.
    pub(super) fn are_revoked_by_others(&self) -> bool {
        let state = self.state();
        state.revoked > 0 && state.worked_at.is_some_and(|at| at.elapsed() < EARLY)
    }

    /// What is known without a call: a token, or a failure that still answers for it. What arrived
    /// after the caller asked is the caller's, however short its life.
    fn known(&self, asked_at: Instant) -> Option<Result<Arc<Access>, NoToken>> {
        let state = self.state();
        let now = Instant::now();
        let usable = |it: &&Arc<Access>| now < it.ends_at || it.arrived_at >= asked_at;
        if let Some(access) = state.access.as_ref().filter(usable) {
            return Some(Ok(Arc::clone(access)));
        }
        let failure = state.failure.as_ref()?;
        let answers = now < failure.at + failure.holds || failure.at >= asked_at;
        answers.then(|| Err(failure.why.clone()))
    }

    /// Fetches the next token while the current one still serves, so that nobody waits for it.
    fn renew_ahead(self: &Arc<Self>, now: Instant) {
        let due = || {
            let state = self.state();
            let failure = state.failure.as_ref();
            state.access.as_ref().is_some_and(|it| it.renew_at <= now)
                && failure.is_none_or(|it| it.at + it.holds <= now)
        };
        if !due() {
            return;
        }
        // A second look under the turn: whoever had it may just have renewed.
        if let Ok(turn) = Arc::clone(&self.turn).try_lock_owned()
            && due()
        {
            tokio::spawn(Arc::clone(self).renew(turn));
        }
    }

    /// One fetch, and what it brought.
    async fn renew(self: Arc<Self>, turn: OwnedMutexGuard<()>) {
        let next_at = self.state().next_at;
        let fleet_turn = (self.fleet_turn)();
        if let Some(next_at) = next_at {
            sleep_until(next_at).await;
            fleet_turn.await;
        } else {
            // A few workers that start together do not revoke each other's first tokens; many do
            // not wait for each other.
            let _ = timeout(TURN_PATIENCE, fleet_turn).await;
        }
        let fetched = self.fetch().await;
        let mut state = self.state();
        match fetched {
            Ok(mut access) => {
                state.generation += 1;
                access.generation = state.generation;
                state.access = Some(Arc::new(access));
                state.failure = None;
            }
            Err(why) => {
                let holds = state.failure.as_ref().map_or(FAILURE_HOLDS, |it| it.holds * 2);
                let holds = holds.min(FAILURE_HOLDS_AT_MOST);
                state.failure = Some(Failure { why, at: Instant::now(), holds });
            }
        }
        drop(state);
        drop(turn);
    }

    async fn fetch(&self) -> Result<Access, NoToken> {
        let began = Instant::now();
        // Read anew each time: a rotated secret is taken without a restart.
        let unreadable =
            |key, error| NoToken::Unavailable(format!("cannot read api.{key}: {error}"));
        let secret =
            self.client_secret.read().map_err(|error| unreadable("client_secret", error))?;
        let api_key = self.api_key.read_header().map_err(|error| unreadable("api_key", error))?;
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("clientId", &self.client_id)
            .append_pair("clientSecret", secret.expose_secret());
        let until = began + self.request_timeout;
        let answer = self.transport.exchange("token", Outgoing::get(url), until).await;
        let (token, life) = read_answer(answer)?;
        Ok(Access {
            generation: 0,
            authorization: token,
            api_key,
            arrived_at: Instant::now(),
            renew_at: began + life.mul_f64(0.9),
            ends_at: began + life,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in it is half-written when a holder panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Access {
    /// What must not be shown, should the API quote it.
    pub(super) fn secrets(&self) -> [&str; 2] {
        let bearer = self.authorization.to_str().unwrap_or_default();
        [
            bearer.strip_prefix("Bearer ").unwrap_or(bearer),
            self.api_key.to_str().unwrap_or_default(),
        ]
    }
}

/// The header and the life of the token that an answer brings.
fn read_answer(answer: Answer) -> Result<(HeaderValue, Duration), NoToken> {
    let unavailable = |why: &str| Err(NoToken::Unavailable(format!("the token call: {why}")));
    let given = match answer {
        Answer::Given(given) => given,
        Answer::NotSent(why) | Answer::MaybeSent(why) => return unavailable(&why),
    };
    let code = given.code;
    match (code, &given.body) {
        (200..=299, Body::Whole(bytes)) => {
            let token = match wire::Token::read(bytes) {
                Ok(token) => token,
                Err(why) => return unavailable(&format!("{code}, {why}")),
            };
            let bearer = token.access_token().and_then(|it| header(&format!("Bearer {it}")));
            match bearer {
                Some(bearer) => Ok((bearer, life(token.expires_in()))),
                None => unavailable(&format!("{code}, without a usable access_token")),
            }
        }
        (200..=299, Body::Cut(why)) => unavailable(&format!("{code}, {why}")),
        // A page of something in front of the API says nothing of our credentials.
        (400 | 401 | 403 | 404, _) if given.is_the_apis_own() => {
            Err(NoToken::Refused(format!("{code} to the token call: check credentials, URL, IP")))
        }
        _ => unavailable(&code.to_string()),
    }
}

/// How long a token lives: not at all when it says so (it then serves those who waited for it).
fn life(expires_in: Option<f64>) -> Duration {
    let Some(seconds) = expires_in else { return DEFAULT_LIFE };
    Duration::try_from_secs_f64(seconds.max(0.0)).map_or(LONGEST_LIFE, |it| it.min(LONGEST_LIFE))
}

fn header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

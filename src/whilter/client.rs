//! The client: what `worker` calls.
//!
//! One call is: a token, the exchange, and, after a 401, once more with another token. The deadline
//! bounds all of it. A POST is begun only when reasonable time is left, for one that is cut off
//! may be paid twice.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::answer::Answer;
use super::endpoints::Endpoints;
use super::error::BuildError;
use super::outcome;
use super::token::{Access, NoToken, TokenTurn, Tokens};
use super::transport::{Outgoing, Transport};
use crate::config::{Api, Deliverable};
use crate::job::{JobId, Refusal, StatusOutcome, SubmitOutcome};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Short, so that a POST rarely meets a keep-alive connection that the server is just closing:
/// such a POST may have been sent for all we know.
const POSTS_IDLE: Duration = Duration::from_secs(2);
const GETS_IDLE: Duration = Duration::from_secs(60);

/// When the request of a call began to be sent, for whoever breaks the call off: a request that
/// was not begun was surely not accepted.
#[derive(Debug, Default)]
pub struct Began(Mutex<Option<Instant>>);

impl Began {
    /// `None`: nothing was sent that the API has not refused since.
    #[must_use]
    pub fn at(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

/// A client of the remote API. Cheap to clone; clones share connections and token.
#[derive(Clone)]
pub struct Client(Arc<Parts>);

struct Parts {
    endpoints: Endpoints,
    tokens: Arc<Tokens>,
    posts: Transport,
    /// Status checks and token calls: a GET may meet a closed connection, nothing is lost.
    gets: Arc<Transport>,
}

impl Client {
    /// A client that keeps as many connections as there are calls in flight. `fleet_turn` keeps
    /// processes that revoke each other's tokens from fetching them all at once.
    ///
    /// Proxies of the environment (`HTTPS_PROXY` and the like) are used, except for a loopback
    /// address.
    ///
    /// # Errors
    /// [`BuildError`]: no TLS.
    pub fn new(
        api: &Api,
        submit_concurrency: usize,
        poll_concurrency: usize,
        fleet_turn: TokenTurn,
    ) -> Result<Self, BuildError> {
        let endpoints = Endpoints::new(api);
        let posts = Transport::new(api, submit_concurrency, POSTS_IDLE)?;
        let gets = Arc::new(Transport::new(api, poll_concurrency, GETS_IDLE)?);
        let tokens = Tokens::new(api, endpoints.token.clone(), Arc::clone(&gets), fleet_turn);
        Ok(Self(Arc::new(Parts { endpoints, tokens, posts, gets })))
    }

    /// Submits the request of `id`, whose body is sent as it is. Over by `deadline`. `began` says
    /// what was sent so far.
    pub async fn submit(
        &self,
        id: &JobId,
        body: Bytes,
        deadline: Instant,
        began: &Began,
    ) -> SubmitOutcome {
        let outgoing = || {
            let url = self.0.endpoints.submit.clone();
            let mut outgoing = Outgoing::post(url, body.clone());
            outgoing.request.headers_mut().insert(CONTENT_TYPE, JSON);
            outgoing
        };
        match self.call("submit", &self.0.posts, outgoing, deadline, began).await {
            Ok((answer, access)) => {
                let sent_ago = began.at().map_or(Duration::ZERO, |at| at.elapsed());
                outcome::of_submit(id, &answer, sent_ago, &access.secrets())
            }
            Err(NoToken::Refused(detail)) => {
                SubmitOutcome::Refused { detail, refusal: Refusal::Credentials }
            }
            Err(NoToken::Unavailable(detail)) => SubmitOutcome::NotSent { detail },
            Err(NoToken::NotTried(detail)) => SubmitOutcome::NotTried { detail },
        }
    }

    /// Asks for the video of a transaction that the API accepted for `id`. Over by `deadline`.
    pub async fn status(
        &self,
        id: &JobId,
        whilter_request_id: &str,
        deliverable: Deliverable,
        deadline: Instant,
    ) -> StatusOutcome {
        let Some(url) = self.0.endpoints.status(whilter_request_id) else {
            let detail = "its whilter-request-id cannot stand in a URL".to_owned();
            return StatusOutcome::BadRequest { detail };
        };
        let outgoing = || Outgoing::get(url.clone());
        match self.call("status", &self.0.gets, outgoing, deadline, &Began::default()).await {
            Ok((answer, access)) => outcome::of_status(id, deliverable, &answer, &access.secrets()),
            Err(NoToken::Refused(detail)) => {
                StatusOutcome::Refused { detail, refusal: Refusal::Credentials }
            }
            Err(NoToken::Unavailable(detail)) => StatusOutcome::NotSent { detail },
            Err(NoToken::NotTried(detail)) => StatusOutcome::NotTried { detail },
        }
    }

    /// Whether the API is there: asks for a transaction, and looks whether anything below 500 is
    /// answered, whatever it says. Over by `deadline`.
    ///
    /// # Errors
    /// In words, why it is not.
    pub async fn answers(&self, whilter_request_id: &str, deadline: Instant) -> Result<(), String> {
        let Some(url) = self.0.endpoints.status(whilter_request_id) else {
            return Err("its whilter-request-id cannot stand in a URL".to_owned());
        };
        let outgoing = || Outgoing::get(url.clone());
        match self.call("status", &self.0.gets, outgoing, deadline, &Began::default()).await {
            Ok((Answer::Given(given), _)) if given.code < 500 => Ok(()),
            Ok((Answer::Given(given), access)) => Err(given.in_words(&access.secrets())),
            Ok((Answer::NotSent(why) | Answer::MaybeSent(why), _))
            | Err(NoToken::Refused(why) | NoToken::Unavailable(why) | NoToken::NotTried(why)) => {
                Err(why)
            }
        }
    }

    /// The exchange, with a token; repeated when the API refuses a token and a newer one
    /// is there, and once with one that is fetched for it. An error says that the request was not
    /// accepted, and that no token or no time was left to try it (again).
    async fn call(
        &self,
        endpoint: &'static str,
        transport: &Transport,
        outgoing: impl Fn() -> Outgoing,
        deadline: Instant,
        began: &Began,
    ) -> Result<(Answer, Arc<Access>), NoToken> {
        let (mut stale, mut is_renewed) = (None, false);
        loop {
            let access = self.0.tokens.get(stale, deadline).await?;
            let Some(until) = transport.end_of_call(deadline) else {
                let detail = "not sent: too little time was left for an answer".to_owned();
                return Err(NoToken::NotTried(detail));
            };
            let mut outgoing = outgoing();
            let headers = outgoing.request.headers_mut();
            headers.insert(AUTHORIZATION, access.authorization.clone());
            headers.insert(API_KEY, access.api_key.clone());
            began.set(Some(Instant::now()));
            let answer = transport.exchange(endpoint, outgoing, until).await;
            let tokens = &self.0.tokens;
            if answer.code() != Some(401) {
                if answer.code().is_some() {
                    tokens.worked();
                }
                return Ok((answer, access));
            }
            began.set(None);
            if !tokens.is_superseded(access.generation) {
                if is_renewed && tokens.are_revoked_by_others() {
                    let detail = "401: our tokens are revoked again and again";
                    return Err(NoToken::NotTried(detail.to_owned()));
                }
                if is_renewed {
                    return Ok((answer, access));
                }
                is_renewed = true;
            }
            stale = Some(access.generation);
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

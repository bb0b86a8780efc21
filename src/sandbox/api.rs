//! The documented endpoints (docs/contract.md, section 1), from a call that has arrived to the
//! answer it gets.
//!
//! A call takes effect here and at once; the server lets its latency pass afterwards. A caller
//! that dies meanwhile has been heard all the same, as with the real API.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::sync::oneshot;
use url::form_urlencoded;

use super::answer::{Answer, Reply};
use super::faults::Fault;
use super::ledger::{Fate, Progress};
use super::options::Mode;
use super::rules::{Effect, Subject};
use super::state::{Push, Shared, State};
use super::stats::Endpoint;
use super::submission::Submission;

/// What a call asks for.
enum Call<'a> {
    Token { query: &'a str },
    Submit(Result<Submission, Reply>),
    Status { id: Cow<'a, str> },
    WrongMethod { allowed: &'static str },
    Unknown,
}

/// What else is to be known of a call.
struct Arrival<'a> {
    headers: &'a HeaderMap,
    now: Instant,
    /// A rule is about it: it meets no fault by chance.
    has_rule: bool,
}

/// An answer, and what it waits for.
pub(super) struct Due {
    pub(super) answer: Answer,
    pub(super) pushed: Option<Pushed>,
    pub(super) latency: Duration,
}

/// Ends when an early push was answered.
pub(super) type Pushed = oneshot::Receiver<()>;

/// Answers one call; `None` is a body that was too large.
pub(super) fn answer(shared: &Shared, head: &Parts, body: Option<&[u8]>) -> Due {
    let call = Call::read(head, body);
    let endpoint = call.endpoint();
    let now = Instant::now();
    let mut state = shared.lock();
    let effect = state.arrive(&call, body, now);
    let arrival = Arrival { headers: &head.headers, now, has_rule: effect.is_some() };
    let (answer, pushed) = match state.options.mode {
        Mode::Normal => state.serve_by_rule(effect, call, &arrival),
        Mode::Refuse => at_once(Reply::error(StatusCode::FORBIDDEN, "Forbidden")),
        Mode::Down => at_once(server_error()),
        Mode::Html => at_once(Reply::page(StatusCode::OK)),
    };
    state.calls.count(endpoint, &answer);
    Due { answer, pushed, latency: state.options.latency }
}

impl<'a> Call<'a> {
    fn read(head: &'a Parts, body: Option<&[u8]>) -> Self {
        let path = head.uri.path();
        let transaction = path.strip_prefix("/status/").and_then(segment);
        match (path, transaction, &head.method) {
            ("/getToken", _, &Method::GET) => {
                Self::Token { query: head.uri.query().unwrap_or_default() }
            }
            ("/video/demo", _, &Method::POST) => Self::Submit(Submission::parse(body)),
            (_, Some(id), &Method::GET) => Self::Status { id },
            ("/getToken", _, _) | (_, Some(_), _) => Self::WrongMethod { allowed: "GET" },
            ("/video/demo", _, _) => Self::WrongMethod { allowed: "POST" },
            _ => Self::Unknown,
        }
    }

    fn endpoint(&self) -> Endpoint {
        match self {
            Self::Token { .. } => Endpoint::Token,
            Self::Submit(_) => Endpoint::Submit,
            Self::Status { .. } => Endpoint::Status,
            Self::WrongMethod { .. } | Self::Unknown => Endpoint::Other,
        }
    }
}

impl State {
    /// Counts a call, whatever becomes of it; what the first rule about it does to it.
    fn arrive(&mut self, call: &Call<'_>, body: Option<&[u8]>, now: Instant) -> Option<Effect> {
        let (job, number) = match call {
            Call::Token { .. } => (None, Some(self.calls.to(Endpoint::Token) + 1)),
            Call::Submit(Ok(submission)) => {
                Some(self.ledger.post(submission, body.unwrap_or_default(), now)).unzip()
            }
            Call::Status { id } => self.ledger.check(id).unzip(),
            Call::Submit(Err(_)) => (None, None),
            Call::WrongMethod { .. } | Call::Unknown => return None,
        };
        let subject = Subject { endpoint: call.endpoint(), job, number };
        let rule = self.options.faults.iter().find(|rule| rule.is_about(&subject));
        rule.map(|rule| rule.effect)
    }

    fn serve_by_rule(
        &mut self,
        effect: Option<Effect>,
        call: Call<'_>,
        arrival: &Arrival<'_>,
    ) -> (Answer, Option<Pushed>) {
        match effect {
            None => self.serve(call, arrival),
            Some(Effect::Oddly(odd)) => {
                let (answer, pushed) = self.serve(call, arrival);
                (answer.oddly(odd), pushed)
            }
            Some(Effect::Instead(instead)) if instead.accepted => {
                let (_, pushed) = self.serve(call, arrival);
                (instead.answer(), pushed)
            }
            Some(Effect::Instead(instead)) => (instead.answer(), None),
        }
    }

    fn serve(&mut self, call: Call<'_>, arrival: &Arrival<'_>) -> (Answer, Option<Pushed>) {
        match call {
            Call::Token { query } => at_once(self.token(query, arrival.now)),
            Call::Submit(submission) => self.submit(submission, arrival),
            Call::Status { id } => (self.status(&id, arrival), None),
            Call::WrongMethod { allowed } => at_once(Reply::wrong_method(allowed)),
            Call::Unknown => at_once(Reply::not_found()),
        }
    }

    fn token(&mut self, query: &str, now: Instant) -> Reply {
        #[derive(Serialize)]
        struct Token {
            access_token: String,
            expires_in: u64,
            token_type: &'static str,
        }
        let parameter = |name| {
            form_urlencoded::parse(query.as_bytes()).find(|(it, _)| it == name).map(|(_, it)| it)
        };
        let (Some(id), Some(secret)) = (parameter("clientId"), parameter("clientSecret")) else {
            let message = "Bad request, check the input: clientId and clientSecret are required";
            return Reply::error(StatusCode::BAD_REQUEST, message);
        };
        if id != self.options.client_id || secret != self.options.client_secret {
            return unauthorized("wrong clientId or clientSecret");
        }
        let token = Token {
            access_token: self.issue_token(now),
            expires_in: self.options.token_ttl.as_secs(),
            token_type: "Bearer",
        };
        Reply::json(StatusCode::OK, &token)
    }

    fn submit(
        &mut self,
        submission: Result<Submission, Reply>,
        arrival: &Arrival<'_>,
    ) -> (Answer, Option<Pushed>) {
        if let Err(refusal) = self.admit(arrival) {
            return at_once(refusal);
        }
        let now = arrival.now;
        let fault = self.chance.submit.roll(self.options.drop_rate, self.options.error_rate);
        match fault.unless(arrival.has_rule) {
            Fault::LostBefore => (Answer::Lost, None),
            Fault::Error => at_once(server_error()),
            Fault::LostAfter => {
                let accepted = submission.ok().map(|submission| self.accept(submission, now));
                (Answer::Lost, accepted.and_then(|(_, pushed)| pushed))
            }
            Fault::None => match submission {
                Ok(submission)
                    if self.options.foreign_use_case.as_ref() == Some(&submission.use_case_id) =>
                {
                    at_once(Reply::error(StatusCode::FORBIDDEN, "this template is not yours"))
                }
                Ok(submission) => {
                    let (reply, pushed) = self.accept(submission, now);
                    (Answer::Reply(reply), pushed)
                }
                Err(refusal) => at_once(refusal),
            },
        }
    }

    /// Accepts a submit. Nothing is documented about idempotency: twice the same is two videos.
    fn accept(&mut self, submission: Submission, now: Instant) -> (Reply, Option<Pushed>) {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Accepted<'a> {
            status: &'static str,
            message: &'static str,
            client_request_id: &'a str,
            whilter_request_id: &'a str,
        }
        let client_request_id = submission.client_request_id;
        let fails = self.chance.fails(&client_request_id, self.options.fail_rate);
        let webhook = self.options.webhook.clone().filter(|_| !fails);
        let early = webhook.is_some() && self.options.push.early;
        let fate = match (fails, early) {
            (true, _) => Fate::Fails,
            (false, true) => Fate::MadeAtOnce,
            (false, false) => Fate::Made,
        };
        let whilter_request_id = self.ledger.accept(&client_request_id, fate, now);
        let reply = Reply::json(
            StatusCode::OK,
            &Accepted {
                status: "SUCCESS",
                message: "Request accepted",
                client_request_id: &client_request_id,
                whilter_request_id: &whilter_request_id,
            },
        );
        let (early, pushed) = early.then(oneshot::channel).unzip();
        if let Some(webhook) = webhook {
            let push = Push {
                webhook,
                accepted_at: now,
                client_request_id,
                user_id: submission.user_id,
                video_url: video_url(&whilter_request_id),
                forged_url: video_url(&format!("forged-{whilter_request_id}")),
                early,
            };
            // It fails only while the sandbox ends, and with it everything it would push.
            let _ = self.pushes.send(push);
        }
        (reply, pushed)
    }

    fn status(&mut self, id: &str, arrival: &Arrival<'_>) -> Answer {
        if let Err(refusal) = self.admit(arrival) {
            return Answer::Reply(refusal);
        }
        let fault = self.chance.status.roll(self.options.drop_rate, self.options.status_error_rate);
        match fault.unless(arrival.has_rule) {
            Fault::LostBefore | Fault::LostAfter => Answer::Lost,
            Fault::Error => Answer::Reply(server_error()),
            Fault::None => Answer::Reply(self.progress(id, arrival.now)),
        }
    }

    fn progress(&mut self, id: &str, now: Instant) -> Reply {
        #[derive(Default, Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Status {
            status: &'static str,
            message: Option<&'static str>,
            video_url: Option<String>,
            image_url: Option<String>,
        }
        let success = Status { status: "SUCCESS", ..Status::default() };
        let status = match self.ledger.progress(id, self.options.ready_after, now) {
            None => return Reply::error(StatusCode::NOT_FOUND, "Transaction not found"),
            Some(Progress::Waiting) => success,
            Some(Progress::Ready) => Status {
                video_url: Some(video_url(id)),
                image_url: Some(format!("https://cdn.sandbox.example/videos/{id}.jpg")),
                ..success
            },
            Some(Progress::Failed) => {
                Status { status: "FAILED", message: Some("generation failed"), ..Status::default() }
            }
        };
        Reply::json(StatusCode::OK, &status)
    }

    /// Lets a submit or a status check in; the error is the answer to give.
    fn admit(&mut self, arrival: &Arrival<'_>) -> Result<(), Reply> {
        let Arrival { headers, now, .. } = *arrival;
        let limit = self.options.limit.filter(|limit| *limit > 0.0);
        if limit.is_some_and(|limit| !self.bucket.take(limit, now)) {
            let reply = Reply::error(StatusCode::TOO_MANY_REQUESTS, "Too many requests");
            return Err(reply.with(RETRY_AFTER, HeaderValue::from_static("1")));
        }
        let key = headers.get("x-api-key").and_then(|key| key.to_str().ok());
        if key != Some(self.options.api_key.as_str()) {
            return Err(unauthorized("x-api-key is missing or wrong"));
        }
        let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
        if !token.is_some_and(|token| self.knows_token(token, now)) {
            return Err(unauthorized("the bearer token is missing, unknown or expired"));
        }
        Ok(())
    }
}

/// A reply that waits for no push.
fn at_once(reply: Reply) -> (Answer, Option<Pushed>) {
    (Answer::Reply(reply), None)
}

/// One path segment, percent-decoded; `None`: it is empty, several, or no text.
fn segment(text: &str) -> Option<Cow<'_, str>> {
    if text.is_empty() || text.contains('/') {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok()
}

fn video_url(whilter_request_id: &str) -> String {
    format!("https://cdn.sandbox.example/videos/{whilter_request_id}.mp4")
}

fn server_error() -> Reply {
    let message = "Server error, retry after some time";
    Reply::error(StatusCode::INTERNAL_SERVER_ERROR, message)
}

fn unauthorized(why: &str) -> Reply {
    Reply::error(StatusCode::UNAUTHORIZED, &format!("Unauthorized: {why}"))
}

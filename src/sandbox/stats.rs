//! What the sandbox counted: `GET /sandbox/stats`, and the same for tests in this process.

use std::collections::BTreeMap;

use serde::Serialize;

use super::answer::Answer;

/// What a call was made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// `GET /getToken`
    Token,
    /// `POST /video/demo`
    Submit,
    /// `GET /status/<id>`
    Status,
    /// Any other path or method.
    Other,
    /// Our own calls to the webhook.
    Push,
}

/// What was counted since the start.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stats {
    /// The seed of the faults, chosen or random.
    pub seed: u64,
    /// Calls by endpoint and code; `no-answer`: the connection was closed instead.
    pub calls: BTreeMap<Endpoint, BTreeMap<String, u64>>,
    /// Pushes by kind.
    pub pushes: Pushes,
    /// Submits that arrived with a valid body, whatever the answer.
    pub posts: u64,
    /// The most of these for one client-request-id.
    pub max_posts_per_id: u64,
    /// Accepted submits: what would have been billed.
    pub accepted: u64,
    /// Distinct client-request-ids among the accepted submits.
    pub accepted_ids: u64,
    /// Submits that were accepted although their client-request-id had been before.
    pub duplicates: u64,
    /// The most calls in hand at one time.
    pub peak_concurrency: usize,
}

/// Pushes by kind, each once however often it was tried; its tries are among the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pushes {
    /// Finished videos that were pushed.
    pub sent: u64,
    /// Of these, those that were late on purpose.
    pub late: u64,
    /// Of these, those that left with others, the last first.
    pub reversed: u64,
    /// Of these, those that came before the answer to their submit.
    pub early: u64,
    /// Pushes that succeeded and were sent again.
    pub repeated: u64,
    /// False pushes.
    pub forged: u64,
    /// Finished videos that were not pushed, on purpose.
    pub lost: u64,
}

impl Stats {
    /// Calls to the token endpoint, whatever the answer.
    #[must_use]
    pub fn token_calls(&self) -> u64 {
        self.calls_to(Endpoint::Token)
    }

    /// Calls to an endpoint, whatever the answer.
    #[must_use]
    pub fn calls_to(&self, endpoint: Endpoint) -> u64 {
        self.calls.get(&endpoint).map_or(0, |answers| answers.values().sum())
    }

    /// Calls to an endpoint that got this answer: a code, or `no-answer`.
    #[must_use]
    pub fn answered(&self, endpoint: Endpoint, answer: &str) -> u64 {
        self.calls.get(&endpoint).and_then(|answers| answers.get(answer)).copied().unwrap_or(0)
    }
}

/// Calls by endpoint and code; `None`: no answer.
#[derive(Default)]
pub(super) struct Calls(BTreeMap<(Endpoint, Option<u16>), u64>);

impl Calls {
    pub(super) fn count(&mut self, endpoint: Endpoint, answer: &Answer) {
        let code = match answer {
            Answer::Reply(reply) => Some(reply.status.as_u16()),
            Answer::Lost => None,
        };
        self.count_code(endpoint, code);
    }

    pub(super) fn count_code(&mut self, endpoint: Endpoint, code: Option<u16>) {
        *self.0.entry((endpoint, code)).or_default() += 1;
    }

    /// Calls to an endpoint so far.
    pub(super) fn to(&self, endpoint: Endpoint) -> u64 {
        self.0.iter().filter(|((it, _), _)| *it == endpoint).map(|(_, count)| count).sum()
    }

    pub(super) fn by_endpoint(&self) -> BTreeMap<Endpoint, BTreeMap<String, u64>> {
        let mut calls: BTreeMap<Endpoint, BTreeMap<String, u64>> = BTreeMap::new();
        for ((endpoint, code), count) in &self.0 {
            let answer = code.map_or("no-answer".to_owned(), |code| code.to_string());
            calls.entry(*endpoint).or_default().insert(answer, *count);
        }
        calls
    }
}

//! The model: what the life-cycle table and the contract say a queue is after each step, written
//! without a look at the scripts. Small enough to be believed.

mod claims;
mod operate;
mod push;
mod settle;

use std::collections::BTreeMap;

use reelq::job::lifecycle::{Event, LIFE, State};
use reelq::queue::Operated;

pub(crate) use self::push::PUSHED_URL;
pub(crate) use self::settle::Outcome;

pub(crate) const LEASE_MS: u64 = 60_000;
pub(crate) const MAX_AGE_MS: u64 = 600_000;
pub(crate) const GRACE_MS: u64 = 30_000;
pub(crate) const REFUSED_GRACE_MS: u64 = 5000;
pub(crate) const MAX_UNCONFIRMED: u32 = 2;
/// How long before its time-out a POST began.
pub(crate) const SENT_AGO_MS: u64 = 7000;
pub(crate) const VIDEO_URL: &str = "https://cdn.example/v.mp4";
pub(crate) const STREAK: &str = "not-found 1 1000";

/// One job. What its record shows, and in which place it is.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) state: State,
    pub(crate) fields: BTreeMap<&'static str, String>,
    pub(crate) body: usize,
    place: Option<(Place, u64)>,
    accepted_at: u64,
    not_before: Option<u64>,
    expires_at: Option<u64>,
}

/// Where a live job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Submit,
    Unconfirmed,
    Poll,
    Leases,
}

impl Place {
    pub(crate) const ALL: [Self; 4] = [Self::Submit, Self::Unconfirmed, Self::Poll, Self::Leases];

    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Unconfirmed => "unconfirmed",
            Self::Poll => "poll",
            Self::Leases => "leases",
        }
    }
}

/// The whole queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) now: u64,
    pub(crate) paused: bool,
    pub(crate) jobs: BTreeMap<String, Job>,
    pub(crate) counters: BTreeMap<&'static str, u64>,
    /// Id, status and revision of each result, in order.
    pub(crate) results: Vec<(String, String, String)>,
    /// Entries kept aside.
    pub(crate) aside: usize,
    /// When the next check may be made for a push that anybody may have sent.
    pub(crate) push_free_at: u64,
}

impl Job {
    fn number(&self, field: &str) -> u64 {
        self.fields.get(field).map_or(0, |text| text.parse().unwrap())
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    fn set(&mut self, field: &'static str, value: impl ToString) {
        self.fields.insert(field, value.to_string());
    }

    fn remove(&mut self, fields: &[&'static str]) {
        for field in fields {
            self.fields.remove(field);
        }
    }

    fn raise(&mut self, field: &'static str) {
        self.set(field, self.number(field) + 1);
    }

    pub(crate) fn claim(&self) -> u64 {
        self.number("claim")
    }

    /// Due times by place; a live job is in exactly one.
    pub(crate) fn place(&self) -> Option<(Place, u64)> {
        self.place
    }

    fn is_due(&self, place: Place, now: u64) -> bool {
        matches!(self.place, Some((it, due)) if it == place && due <= now)
    }

    fn in_hand(&self) -> bool {
        matches!(self.place, Some((Place::Leases, _)))
    }

    fn deadline(&self) -> u64 {
        let from = [self.accepted_at, self.not_before.unwrap_or(0), self.number("retried-at")];
        let by_age = from.into_iter().max().unwrap() + MAX_AGE_MS;
        by_age.min(self.expires_at.unwrap_or(u64::MAX))
    }

    /// How often it was refused, how many jobs had been submitted at the first time, and when that was.
    fn refusals(&self) -> Option<[u64; 3]> {
        let words = self.fields.get("refusals")?.split(' ').map(|word| word.parse().unwrap());
        Some(words.collect::<Vec<_>>().try_into().unwrap())
    }

    fn is_ended_as_refused(&self) -> bool {
        self.fields.get("error").is_some_and(|error| error == "api-refused")
    }

    /// Whether one more refusal ends it: the third, when the grace is over since the first, and others
    /// were accepted.
    fn is_refused_alone(&self, submitted: u64, now: u64) -> bool {
        let often = |[count, at_first, first]: [u64; 3]| {
            count >= 2 && submitted > at_first && now - first >= REFUSED_GRACE_MS
        };
        !self.fields.contains_key("unconfirmed") && self.refusals().is_some_and(often)
    }

    /// Where it stands, as an operator is told.
    fn told(&self) -> Operated {
        Operated::Done { state: self.state, revision: self.number("revision") }
    }

    /// Moves along a row of the life-cycle table, which must have it.
    fn go(&mut self, event: Event) {
        let row = LIFE.iter().find(|row| row.from == Some(self.state) && row.event == event);
        self.state = row.unwrap_or_else(|| panic!("no row: {} {event:?}", self.state)).to;
        self.set("state", self.state);
    }

    fn wait(&mut self, place: Place, due: u64) {
        self.place = Some((place, due));
        self.set("next-at", due);
    }

    fn lease(&mut self, worker: &str, now: u64) {
        self.place = Some((Place::Leases, now + LEASE_MS));
        self.set("worker", worker);
    }

    fn become_unconfirmed(&mut self, now: u64, sent_at: u64, hold: bool) {
        self.raise("unconfirmed");
        let times = self.number("unconfirmed");
        let hold = hold || times > u64::from(MAX_UNCONFIRMED);
        if hold {
            self.set("held", 1);
        }
        let due = if self.fields.contains_key("push-trust") {
            now
        } else if hold {
            self.deadline()
        } else {
            let pushed = u64::from(self.fields.contains_key("pushed-url"));
            sent_at + (if times == 1 { 1 } else { 10 } + pushed) * GRACE_MS
        };
        self.wait(Place::Unconfirmed, due);
    }
}

impl Model {
    fn count(&mut self, what: &'static str) {
        *self.counters.entry(what).or_default() += 1;
    }

    /// Ends a job: its result is published, and it is in no place any more.
    fn end(&mut self, id: &str, event: Event, error: Option<&str>) {
        let now = self.now;
        let job = self.jobs.get_mut(id).unwrap();
        job.go(event);
        job.place = None;
        job.set("ended-at", now);
        if let Some(error) = error {
            job.set("error", error);
        }
        job.remove(&["worker", "next-at", "recoveries", "streak", "resend", "held"]);
        let (state, revision) = (job.state, job.fields["revision"].clone());
        self.results.push((id.to_owned(), state.to_string(), revision));
        self.count(state.as_str());
    }

    /// The ids of the dead: what ended `failed` or `expired`.
    pub(crate) fn dead(&self) -> Vec<String> {
        let dead = |job: &Job| matches!(job.state, State::Failed | State::Expired);
        self.jobs.iter().filter(|(_, job)| dead(job)).map(|(id, _)| id.clone()).collect()
    }

    /// The members of a place that are due, in the order in which Redis has them.
    fn due(&self, place: Place, limit: usize) -> Vec<String> {
        let mut due: Vec<(u64, String)> = Vec::new();
        for (id, job) in &self.jobs {
            if job.is_due(place, self.now) {
                due.push((job.place.unwrap().1, id.clone()));
            }
        }
        due.sort();
        due.into_iter().take(limit).map(|(_, id)| id).collect()
    }
}

//! The model: what the life-cycle table and the contract say a queue is after each step, written
//! without a look at the scripts. Small enough to be believed.

use std::collections::BTreeMap;

use reelq::job::lifecycle::{Event, LIFE, State};
use reelq::queue::{Admission, Finding, MAX_RECOVERIES, Operated, Settled};

pub(crate) const LEASE_MS: u64 = 60_000;
pub(crate) const MAX_AGE_MS: u64 = 600_000;
pub(crate) const GRACE_MS: u64 = 30_000;
pub(crate) const MAX_RESENDS: u32 = 2;
/// How long before its time-out a POST began.
pub(crate) const SENT_AGO_MS: u64 = 7000;

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
}

/// What came of a call, to be recorded.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Accept { transaction: String, delay_ms: u64 },
    Requeue { delay_ms: u64, spends: bool, refused: bool },
    Unconfirm { hold: bool },
    Repoll { delay_ms: u64, streak: bool },
    Complete,
    Fail,
    Expire,
}

impl Outcome {
    /// The end that it asks for.
    fn end(&self) -> State {
        match self {
            Self::Complete => State::Completed,
            Self::Fail => State::Failed,
            Self::Expire => State::Expired,
            Self::Accept { .. }
            | Self::Requeue { .. }
            | Self::Unconfirm { .. }
            | Self::Repoll { .. } => unreachable!("no end"),
        }
    }
}

impl Job {
    fn number(&self, field: &str) -> u64 {
        self.fields.get(field).map_or(0, |text| text.parse().unwrap())
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

    /// How often it was refused, and how many jobs had been submitted at the first time.
    fn refusals(&self) -> Option<(u64, u64)> {
        let (count, at_first) = self.fields.get("refusals")?.split_once(' ').unwrap();
        Some((count.parse().unwrap(), at_first.parse().unwrap()))
    }

    fn is_ended_as_refused(&self) -> bool {
        self.fields.get("error").is_some_and(|error| error == "api-refused")
    }

    /// Whether one more refusal ends it: the third, when others were accepted since the first.
    fn is_refused_alone(&self, submitted: u64) -> bool {
        let unanswered = self.fields.contains_key("unconfirmed");
        !unanswered
            && self.refusals().is_some_and(|(count, at_first)| count >= 2 && submitted > at_first)
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

    fn become_unconfirmed(&mut self, sent_at: u64, hold: bool) {
        self.raise("unconfirmed");
        if hold {
            self.set("held", 1);
        }
        let due = if hold || self.number("unconfirmed") > u64::from(MAX_RESENDS) {
            self.deadline()
        } else {
            sent_at + GRACE_MS
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

    pub(crate) fn admit(
        &mut self,
        id: &str,
        body: usize,
        hands: Option<&str>,
        not_before: Option<u64>,
        expires_at: Option<u64>,
    ) -> Admission {
        if let Some(known) = self.jobs.get(id) {
            if known.body == body {
                self.count("duplicate");
                return Admission::Duplicate;
            }
            self.count("conflict");
            self.aside += 1;
            return Admission::Conflict;
        }
        let ends = expires_at.unwrap_or(u64::MAX);
        let due = self.now.max(not_before.unwrap_or(0).min(ends));
        let behind = !self.due(Place::Submit, 1).is_empty();
        let mut job = Job {
            state: State::Waiting,
            fields: BTreeMap::new(),
            body,
            place: None,
            accepted_at: self.now,
            not_before,
            expires_at,
        };
        job.set("state", State::Waiting);
        job.set("revision", 1);
        job.set("accepted-at", self.now);
        for zero in ["posts", "attempts", "polls", "claim"] {
            job.set(zero, 0);
        }
        for (field, value) in [("not-before", not_before), ("expires-at", expires_at)] {
            if let Some(value) = value {
                job.set(field, value);
            }
        }
        let worker =
            hands.filter(|_| !self.paused && !behind && due <= self.now && ends > self.now);
        match worker {
            Some(worker) => {
                job.go(Event::Claimed);
                job.raise("claim");
                job.raise("posts");
                job.lease(worker, self.now);
            }
            None => job.wait(Place::Submit, due),
        }
        self.jobs.insert(id.to_owned(), job);
        self.count("accepted");
        if worker.is_some() { Admission::Leased } else { Admission::Waiting }
    }

    /// The ids and claim numbers that a worker is given.
    pub(crate) fn claim_submits(&mut self, worker: &str, limit: usize) -> Vec<(String, u64)> {
        let mut taken = Vec::new();
        if self.paused {
            return taken;
        }
        let (now, mut due) = (self.now, self.due(Place::Unconfirmed, limit));
        due.extend(self.due(Place::Submit, limit - due.len()));
        for id in due {
            let job = self.jobs.get_mut(&id).unwrap();
            if job.deadline() <= now {
                let (event, error) = match (job.state, job.number("unconfirmed")) {
                    (State::Waiting, 0) => (Event::Overdue, "submit-deadline"),
                    (State::Waiting, _) => (Event::OverdueUnanswered, "submit-unconfirmed"),
                    _ => (Event::Overdue, "submit-unconfirmed"),
                };
                self.end(&id, event, Some(error));
            } else if job.state == State::Unconfirmed
                && (job.number("unconfirmed") > u64::from(MAX_RESENDS)
                    || job.fields.contains_key("held"))
                && !job.fields.contains_key("resend")
            {
                job.wait(Place::Unconfirmed, job.deadline());
            } else {
                job.go(Event::Claimed);
                job.remove(&["resend", "held"]);
                job.raise("claim");
                job.raise("posts");
                job.lease(worker, now);
                taken.push((id, job.claim()));
            }
        }
        taken
    }

    pub(crate) fn claim_polls(&mut self, worker: &str, limit: usize) -> Vec<(String, u64)> {
        let (now, mut taken) = (self.now, Vec::new());
        for id in self.due(Place::Poll, limit) {
            let job = self.jobs.get_mut(&id).unwrap();
            job.go(Event::Claimed);
            job.raise("claim");
            job.raise("polls");
            job.lease(worker, now);
            taken.push((id.clone(), job.claim()));
            self.count("polled");
        }
        taken
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is what the table does not have")]
    pub(crate) fn settle(&mut self, id: &str, claim: u64, outcome: &Outcome) -> Settled {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(id) else { return Settled::Gone };
        let fenced = job.claim() == claim;
        let submitted = self.counters.get("submitted").copied().unwrap_or(0);
        match outcome {
            Outcome::Accept { transaction, delay_ms } => {
                return self.accept(id, transaction, now + delay_ms);
            }
            Outcome::Complete if job.state == State::Polling => {
                job.set("video-url", VIDEO_URL);
                job.set("source", "poll");
                self.end(id, Event::Ready, None);
                return Settled::Done;
            }
            Outcome::Complete if job.state == State::Expired => {
                job.set("video-url", VIDEO_URL);
                job.set("source", "poll");
                job.fields.remove("error");
                job.raise("revision");
                self.end(id, Event::Ready, None);
                return Settled::Done;
            }
            Outcome::Complete if job.state.is_end() && job.state != State::Completed => {
                job.fields.entry("video-url").or_insert_with(|| VIDEO_URL.to_owned());
                return Settled::Late;
            }
            Outcome::Complete | Outcome::Fail | Outcome::Expire if job.state.is_end() => {
                let by_this_claim = job.state == State::Completed || fenced;
                let same = by_this_claim && job.state == outcome.end();
                return if same { Settled::Done } else { Settled::Late };
            }
            Outcome::Requeue { .. } if fenced && job.state == State::Waiting => {
                return Settled::Done;
            }
            Outcome::Requeue { refused: true, .. } if fenced && job.is_ended_as_refused() => {
                return Settled::Refused;
            }
            Outcome::Unconfirm { .. } if fenced && job.state == State::Unconfirmed => {
                return Settled::Done;
            }
            Outcome::Repoll { .. } if fenced && job.state == State::Polling && !job.in_hand() => {
                return Settled::Done;
            }
            _ => {}
        }
        if !fenced || !job.in_hand() {
            return Settled::Stale;
        }
        match (outcome, job.state) {
            (Outcome::Requeue { refused: true, .. }, State::Submitting)
                if job.is_refused_alone(submitted) =>
            {
                self.end(id, Event::RefusedAlone, Some("api-refused"));
                return Settled::Refused;
            }
            (Outcome::Requeue { delay_ms, spends, refused }, State::Submitting) => {
                if *refused {
                    let (count, at_first) = job.refusals().unwrap_or((0, submitted));
                    job.set("refusals", format!("{} {at_first}", count + 1));
                }
                job.go(Event::RetryLater);
                job.set("attempts", job.number("attempts") + u64::from(*spends));
                job.raise("retries");
                job.fields.remove("recoveries");
                job.wait(Place::Submit, (now + delay_ms).min(job.expires_at.unwrap_or(u64::MAX)));
                self.count("retried");
            }
            (Outcome::Unconfirm { hold }, State::Submitting) => {
                job.go(Event::NoAnswer);
                job.fields.remove("recoveries");
                job.become_unconfirmed(now - SENT_AGO_MS, *hold);
            }
            (Outcome::Repoll { delay_ms, streak }, State::Polling) => {
                job.go(Event::NotYet);
                job.fields.remove("recoveries");
                job.fields.remove("streak");
                if *streak {
                    job.set("streak", STREAK);
                }
                job.wait(Place::Poll, now + delay_ms);
            }
            (Outcome::Fail, State::Submitting) => {
                job.set("source", "poll");
                self.end(id, Event::Rejected, Some("generation-failed"));
            }
            (Outcome::Fail, State::Polling) => {
                job.set("source", "poll");
                self.end(id, Event::Failed, Some("generation-failed"));
            }
            (Outcome::Expire, State::Polling) => {
                job.set("source", "poll");
                self.end(id, Event::Overdue, Some("poll-deadline"));
            }
            _ => return Settled::Stale,
        }
        Settled::Done
    }

    /// An accepted id is true whoever brings it.
    fn accept(&mut self, id: &str, transaction: &str, first_check: u64) -> Settled {
        let now = self.now;
        let job = self.jobs.get_mut(id).unwrap();
        let known = job.fields.get("whilter-request-id").cloned();
        if matches!(job.state, State::Waiting | State::Submitting | State::Unconfirmed) {
            job.go(Event::Accepted);
            job.set("whilter-request-id", transaction);
            job.set("submitted-at", now);
            job.remove(&["recoveries", "resend", "held"]);
            job.wait(Place::Poll, first_check);
            self.count("submitted");
            return Settled::Done;
        }
        match known {
            Some(known) if known == transaction => {}
            Some(_) => {
                let also = job.fields.get("also-accepted").cloned().unwrap_or_default();
                let mut also: Vec<&str> = also.split_whitespace().collect();
                if !also.contains(&transaction) {
                    also.push(transaction);
                }
                job.set("also-accepted", also.join(" "));
                if job.state == State::Polling {
                    return Settled::AlsoAccepted;
                }
            }
            None => job.set("whilter-request-id", transaction),
        }
        if job.state == State::Polling { Settled::Done } else { Settled::Late }
    }

    pub(crate) fn cancel(&mut self, id: &str) -> Operated {
        let Some(job) = self.jobs.get_mut(id) else { return Operated::Gone };
        if job.state.is_end() && job.state != State::Cancelled {
            return Operated::Refused(String::new());
        }
        if !job.state.is_end() {
            if job.state == State::Submitting {
                job.raise("unconfirmed");
            }
            job.set("source", "operator");
            self.end(id, Event::Cancelled, Some("cancelled-by-operator"));
        }
        self.jobs[id].told()
    }

    pub(crate) fn retry(&mut self, id: &str, resubmit: bool) -> Operated {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(id) else { return Operated::Gone };
        let refused = Operated::Refused(String::new());
        let live = !job.state.is_end();
        let in_the_way = job.state == State::Polling && resubmit;
        if matches!(job.state, State::Submitting | State::Completed) || in_the_way {
            return refused;
        }
        if live {
            // What is being checked is as early as can be.
            if let Some((place, due)) = job.place.filter(|(place, _)| *place != Place::Leases) {
                job.go(Event::Hurried);
                if place == Place::Unconfirmed {
                    job.set("resend", 1);
                }
                job.wait(place, due.min(now));
            }
            return job.told();
        }
        let generation_failed =
            job.fields.get("error").is_some_and(|error| error == "generation-failed");
        let transaction = job.fields.get("whilter-request-id").cloned();
        let follow = transaction.is_some() && !generation_failed && !resubmit;
        if !follow && job.expires_at.is_some_and(|at| at <= now) {
            return refused;
        }
        if follow {
            job.go(Event::FollowedAgain);
        } else {
            job.go(Event::StartedOver);
            job.set("attempts", 0);
            if job.fields.contains_key("unconfirmed") {
                job.set("unconfirmed", 1);
            }
            if let Some(transaction) = transaction {
                let also = job.fields.get("also-accepted").map(|also| format!("{also} "));
                job.set("also-accepted", also.unwrap_or_default() + &transaction);
            }
            job.remove(&["retries", "refusals", "whilter-request-id", "submitted-at"]);
        }
        job.raise("revision");
        job.set("polls", 0);
        job.set("retried-at", now);
        job.remove(&["error", "ended-at", "source", "video-url"]);
        job.wait(if follow { Place::Poll } else { Place::Submit }, now);
        self.count("reopened");
        self.jobs[id].told()
    }

    pub(crate) fn resolve(&mut self, id: &str, finding: &Finding) -> Operated {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(id) else { return Operated::Gone };
        let (field, known) = match finding {
            Finding::Accepted(transaction) => ("whilter-request-id", transaction),
            Finding::Ready(url) => ("video-url", url),
            Finding::GivenUp(_) => ("source", &"operator".to_owned()),
        };
        let event = match finding {
            Finding::Accepted(_) => Event::FoundAccepted,
            Finding::Ready(_) => Event::FoundReady,
            Finding::GivenUp(_) => Event::GivenUp,
        };
        if job.state != State::Unconfirmed {
            let row = LIFE.iter().find(|row| row.event == event).unwrap();
            let again = row.to == job.state && job.fields.get(field) == Some(known);
            return if again { job.told() } else { Operated::Refused(String::new()) };
        }
        job.set(field, known);
        if event == Event::FoundAccepted {
            job.go(event);
            job.set("submitted-at", now);
            job.remove(&["recoveries", "resend", "held"]);
            job.wait(Place::Poll, now);
            self.count("submitted");
        } else {
            job.set("source", "operator");
            let error = (event == Event::GivenUp).then_some("submit-unconfirmed");
            self.end(id, event, error);
        }
        self.jobs[id].told()
    }

    /// Takes back leases: those that ran out, or those of one worker. Returns how many.
    pub(crate) fn reclaim(&mut self, dead: Option<&str>) -> usize {
        let now = self.now;
        let lost: Vec<String> = match dead {
            None => self.due(Place::Leases, usize::MAX),
            Some(dead) => {
                let theirs = |job: &Job| job.in_hand() && job.fields["worker"] == dead;
                self.jobs.iter().filter(|(_, job)| theirs(job)).map(|(id, _)| id.clone()).collect()
            }
        };
        for id in &lost {
            let job = self.jobs.get_mut(id).unwrap();
            job.raise("claim");
            job.raise("recoveries");
            if job.state == State::Polling {
                job.go(Event::LeaseLost);
                job.wait(Place::Poll, now);
            } else if job.number("recoveries") >= u64::from(MAX_RECOVERIES) {
                self.end(id, Event::CrashLoop, Some("crash-loop"));
            } else {
                job.go(Event::LeaseLost);
                job.become_unconfirmed(now, false);
            }
        }
        lost.len()
    }
}

pub(crate) const VIDEO_URL: &str = "https://cdn.example/v.mp4";
pub(crate) const STREAK: &str = "not-found 1 1000";

//! Into the queue and into hands: admission, claims, and what dead hands held.

use std::collections::BTreeMap;

use reelq::job::lifecycle::{Event, State};
use reelq::queue::{Admission, MAX_RECOVERIES};

use super::{Job, MAX_UNCONFIRMED, Model, Place};

impl Model {
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
            if job.fields.contains_key("push-trust") {
                self.end_by_push(&id, Event::PushedBefore);
            } else if job.deadline() <= now {
                let (event, error) = match (job.state, job.number("unconfirmed")) {
                    (State::Waiting, 0) => (Event::Overdue, "submit-deadline"),
                    (State::Waiting, _) => (Event::OverdueUnconfirmed, "submit-unconfirmed"),
                    _ => (Event::Overdue, "submit-unconfirmed"),
                };
                self.end(&id, event, Some(error));
            } else if job.state == State::Unconfirmed
                && (job.number("unconfirmed") > u64::from(MAX_UNCONFIRMED)
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
            if matches!(job.state, State::Polling | State::Expired) {
                job.go(Event::LeaseLost);
                job.wait(Place::Poll, now);
                if job.state == State::Expired {
                    job.set("pushed-at", now);
                }
            } else if job.number("recoveries") >= u64::from(MAX_RECOVERIES) {
                self.end(id, Event::CrashLoop, Some("crash-loop"));
            } else {
                job.go(Event::LeaseLost);
                job.become_unconfirmed(now, now, false);
            }
        }
        lost.len()
    }
}

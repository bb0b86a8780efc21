//! What operators do to a job.

use reelq::job::lifecycle::{Event, LIFE, State};
use reelq::queue::{Finding, Operated};

use super::{Model, Place};

impl Model {
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
            job.remove(&["retries", "refusals", "whilter-request-id", "submitted-at", "pushed-at"]);
            if resubmit {
                job.remove(&["pushed-url", "push-trust"]);
            }
        }
        job.raise("revision");
        job.set("polls", 0);
        job.set("retried-at", now);
        job.remove(&["error", "ended-at", "source", "video-url", "worker", "recoveries", "streak"]);
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
}

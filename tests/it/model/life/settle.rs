//! What came of a call, recorded: one function for each outcome.

use reelq::job::lifecycle::{Event, State};
use reelq::queue::Settled;

use super::{Job, Model, Place, SENT_AGO_MS, STREAK, VIDEO_URL};

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

impl Model {
    pub(crate) fn settle(&mut self, id: &str, claim: u64, outcome: &Outcome) -> Settled {
        if !self.jobs.contains_key(id) {
            return Settled::Gone;
        }
        match outcome {
            Outcome::Accept { transaction, delay_ms } => self.accept(id, transaction, *delay_ms),
            Outcome::Requeue { delay_ms, spends, refused: false } => {
                self.requeue(id, claim, *delay_ms, *spends)
            }
            Outcome::Requeue { delay_ms, spends, refused: true } => {
                self.refuse(id, claim, *delay_ms, *spends)
            }
            Outcome::Unconfirm { hold } => self.unconfirm(id, claim, *hold),
            Outcome::Repoll { delay_ms, streak } => self.repoll(id, claim, *delay_ms, *streak),
            Outcome::Complete => self.complete(id),
            Outcome::Fail => self.fail(id, claim),
            Outcome::Expire => self.expire(id, claim),
        }
    }

    fn job(&mut self, id: &str) -> &mut Job {
        self.jobs.get_mut(id).unwrap()
    }

    /// An accepted id is true whoever brings it.
    fn accept(&mut self, id: &str, transaction: &str, delay_ms: u64) -> Settled {
        let now = self.now;
        let job = self.job(id);
        let known = job.fields.get("whilter-request-id").cloned();
        if matches!(job.state, State::Waiting | State::Submitting | State::Unconfirmed) {
            // A push was believed before, and waits for this answer.
            let is_believed =
                job.state == State::Submitting && job.text("push-trust") == Some("accept");
            job.set("whilter-request-id", transaction);
            job.set("submitted-at", now);
            job.remove(&["recoveries", "resend", "held"]);
            self.count("submitted");
            if is_believed {
                self.end_by_push(id, Event::AcceptedAndPushed);
                return Settled::Pushed;
            }
            let job = self.job(id);
            job.go(Event::Accepted);
            job.wait(Place::Poll, job.checked_at(now + delay_ms));
            return Settled::Done;
        }
        let is_same = known.as_deref() == Some(transaction);
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
        let unchecked = job.text("source") == Some("webhook") && job.number("polls") == 0;
        if job.state == State::Polling {
            Settled::Done
        } else if is_same && unchecked {
            Settled::Pushed
        } else {
            Settled::Late
        }
    }

    fn requeue(&mut self, id: &str, claim: u64, delay_ms: u64, spends: bool) -> Settled {
        let now = self.now;
        let job = self.job(id);
        if job.was_held(claim) && job.state == State::Waiting {
            return Settled::Done;
        }
        if !job.is_held(claim, State::Submitting) {
            return Settled::Stale;
        }
        job.go(Event::RetryLater);
        job.set("attempts", job.number("attempts") + u64::from(spends));
        job.raise("retries");
        job.fields.remove("recoveries");
        job.wait(Place::Submit, (now + delay_ms).min(job.expires_at.unwrap_or(u64::MAX)));
        self.count("retried");
        Settled::Done
    }

    /// A refusal is counted, and ends the job that alone is refused.
    fn refuse(&mut self, id: &str, claim: u64, delay_ms: u64, spends: bool) -> Settled {
        let submitted = self.counters.get("submitted").copied().unwrap_or(0);
        let now = self.now;
        let job = self.job(id);
        if job.claim() == claim && job.is_ended_as_refused() {
            return Settled::Refused;
        }
        if job.is_held(claim, State::Submitting) {
            if job.is_refused_alone(submitted, now) {
                self.end(id, Event::RefusedAlone, Some("api-refused"));
                return Settled::Refused;
            }
            let [count, at_first, first] = job.refusals().unwrap_or([0, submitted, now]);
            job.set("refusals", format!("{} {at_first} {first}", count + 1));
        }
        self.requeue(id, claim, delay_ms, spends)
    }

    fn unconfirm(&mut self, id: &str, claim: u64, hold: bool) -> Settled {
        let now = self.now;
        let job = self.job(id);
        if job.was_held(claim) && job.state == State::Unconfirmed {
            return Settled::Done;
        }
        if !job.is_held(claim, State::Submitting) {
            return Settled::Stale;
        }
        job.go(Event::NoAnswer);
        job.fields.remove("recoveries");
        job.become_unconfirmed(now, now - SENT_AGO_MS, hold);
        Settled::Done
    }

    fn repoll(&mut self, id: &str, claim: u64, delay_ms: u64, streak: bool) -> Settled {
        let now = self.now;
        let job = self.job(id);
        let is_checked = job.state == State::Polling || job.is_checked_again();
        if job.was_held(claim) && is_checked && !job.in_hand() {
            return Settled::Done;
        }
        if !is_checked || !job.is_held(claim, job.state) {
            return Settled::Stale;
        }
        job.go(Event::NotYet);
        job.remove(&["recoveries", "streak"]);
        if streak {
            job.set("streak", STREAK);
        }
        let asked_for = job.number("pushed-at") > job.number("next-at");
        let due = now + delay_ms;
        job.wait(Place::Poll, if asked_for { job.checked_at(due) } else { due });
        if job.state == State::Expired {
            job.set("pushed-at", job.number("next-at"));
        }
        Settled::Done
    }

    /// A URL is true whoever brings it; it makes a completed job of an expired one.
    fn complete(&mut self, id: &str) -> Settled {
        let job = self.job(id);
        match job.state {
            State::Polling => {}
            State::Expired => {
                job.fields.remove("error");
                job.raise("revision");
            }
            State::Completed => return Settled::Done,
            State::Failed | State::Cancelled => {
                job.fields.entry("video-url").or_insert_with(|| VIDEO_URL.to_owned());
                return Settled::Late;
            }
            State::Waiting | State::Submitting | State::Unconfirmed => return Settled::Stale,
        }
        job.set("video-url", VIDEO_URL);
        job.set("source", "poll");
        self.end(id, Event::Ready, None);
        Settled::Done
    }

    fn fail(&mut self, id: &str, claim: u64) -> Settled {
        let job = self.job(id);
        if let Some(settled) = job.ended_before(claim, State::Failed) {
            return settled;
        }
        let event = if job.is_held(claim, State::Submitting) {
            Event::Rejected
        } else if job.is_held(claim, State::Polling) {
            Event::Failed
        } else {
            return Settled::Stale;
        };
        job.set("source", "poll");
        self.end(id, event, Some("generation-failed"));
        Settled::Done
    }

    fn expire(&mut self, id: &str, claim: u64) -> Settled {
        let job = self.job(id);
        if let Some(settled) = job.ended_before(claim, State::Expired) {
            return settled;
        }
        if !job.is_held(claim, State::Polling) {
            return Settled::Stale;
        }
        job.set("source", "poll");
        self.end(id, Event::Overdue, Some("poll-deadline"));
        Settled::Done
    }
}

impl Job {
    /// Whether its last holder had this claim; a job that lives again after an end had none.
    fn was_held(&self, claim: u64) -> bool {
        self.claim() == claim && self.fields.contains_key("worker")
    }

    /// Whether it is in this state, in the hands of whoever has this claim.
    fn is_held(&self, claim: u64, state: State) -> bool {
        self.claim() == claim && self.in_hand() && self.state == state
    }

    /// What is answered when it has ended: by this very claim in this very way, or otherwise. The one
    /// more check of an expired job ends with it.
    fn ended_before(&mut self, claim: u64, end: State) -> Option<Settled> {
        if self.is_checked_again() && self.in_hand() && self.was_held(claim) {
            self.place = None;
            self.remove(&["next-at", "worker", "recoveries", "streak"]);
        }
        let same = self.claim() == claim && self.state == end;
        self.state.is_end().then_some(if same { Settled::Done } else { Settled::Late })
    }
}

//! What the API pushes, or somebody in its name.

use reelq::job::lifecycle::{Event, State};
use reelq::queue::{PushOutcome, PushTrust};

use super::{GRACE_MS, Job, Model, Place};

pub(crate) const PUSHED_URL: &str = "https://cdn.example/pushed.mp4";
/// A job is checked for pushes once in so long.
const AGAIN_MS: u64 = 1000;
/// The fleet makes a check for pushes that anybody may have sent once in so long.
const UNTRUSTED_EVERY_MS: u64 = 50;

impl Model {
    pub(crate) fn push(&mut self, id: &str, user: usize, trust: PushTrust) -> PushOutcome {
        let Some(job) = self.jobs.get_mut(id) else { return PushOutcome::Unknown };
        if job.body != user {
            return PushOutcome::Foreign;
        }
        let (posted, accepted) =
            (job.number("posts") > 0, job.fields.contains_key("whilter-request-id"));
        let (trusted, believed) = (trust != PushTrust::Anybody, trust == PushTrust::Accept);
        let ends = match job.state {
            State::Polling => believed,
            State::Unconfirmed => trusted,
            State::Waiting => trusted && posted,
            State::Expired => {
                if accepted {
                    believed
                } else {
                    trusted && posted
                }
            }
            State::Submitting | State::Completed | State::Failed | State::Cancelled => false,
        };
        if ends {
            if job.state == State::Expired {
                job.fields.remove("error");
                job.raise("revision");
            }
            self.end_by_push(id, Event::Pushed);
            return PushOutcome::Completed;
        }
        let is_checked = job.state == State::Polling || job.state == State::Expired && accepted;
        if !is_checked && !job.state.is_end() && !posted {
            return PushOutcome::Unsent;
        }
        if job.state == State::Completed {
            PushOutcome::Known
        } else if is_checked {
            self.announce(id, trust)
        } else if job.state.is_end() {
            job.note(trust);
            PushOutcome::Recorded
        } else {
            self.keep(id, trust);
            PushOutcome::Kept
        }
    }

    /// Makes a check due as soon as one may be made for a push, unless one comes before that.
    fn announce(&mut self, id: &str, trust: PushTrust) -> PushOutcome {
        let job = &self.jobs[id];
        let (pushed_at, in_hand) = (job.number("pushed-at"), job.in_hand());
        let waits_until = job.place().filter(|_| !in_hand).map(|(_, due)| due);
        let asked_for = (in_hand && pushed_at > job.number("next-at")).then_some(pushed_at);
        let due = waits_until.or(asked_for);
        let Some(at) = self.check_at(pushed_at, due.unwrap_or(u64::MAX), trust) else {
            let for_push = asked_for.is_some() || due == Some(pushed_at);
            return if for_push { PushOutcome::Checked } else { PushOutcome::Soon };
        };
        let job = self.jobs.get_mut(id).unwrap();
        job.go(Event::Announced);
        let in_hand_since = if in_hand { job.number("next-at") + 1 } else { 0 };
        job.set("pushed-at", at.max(in_hand_since));
        if !in_hand {
            job.wait(Place::Poll, at);
        }
        job.note(trust);
        PushOutcome::Checked
    }

    /// Keeps it until the POST is answered; one that was not answered is not sent again so soon.
    fn keep(&mut self, id: &str, trust: PushTrust) {
        let job = &self.jobs[id];
        let pushed_at = job.number("pushed-at");
        let due = if pushed_at > 0 { pushed_at } else { u64::MAX };
        let at = self.check_at(pushed_at, due, trust).unwrap_or(pushed_at);
        let now = self.now;
        let job = self.jobs.get_mut(id).unwrap();
        if job.state == State::Unconfirmed && !job.fields.contains_key("pushed-url") {
            job.go(Event::Announced);
            job.wait(Place::Unconfirmed, job.number("next-at").max(now + GRACE_MS));
        }
        job.set("pushed-at", at);
        job.note(trust);
    }

    /// When a check may be made for a push, if that is before `due`.
    fn check_at(&mut self, pushed_at: u64, due: u64, trust: PushTrust) -> Option<u64> {
        let mut at = self.now.max(pushed_at + AGAIN_MS);
        let free_at = self.now.max(self.push_free_at);
        if trust == PushTrust::Anybody {
            at = at.max(free_at);
        }
        if at >= due {
            return None;
        }
        if trust == PushTrust::Anybody {
            self.push_free_at = free_at + UNTRUSTED_EVERY_MS;
        }
        Some(at)
    }

    /// Ends a job with the URL that the API has pushed.
    pub(super) fn end_by_push(&mut self, id: &str, event: Event) {
        let job = self.jobs.get_mut(id).unwrap();
        job.set("video-url", PUSHED_URL);
        job.set("source", "webhook");
        self.end(id, event, None);
    }
}

impl Job {
    /// Whether it had expired and is checked once more: then it is in a place.
    pub(super) fn is_checked_again(&self) -> bool {
        self.state == State::Expired && self.place.is_some()
    }

    /// The time of a check, if a push does not ask for an earlier one.
    pub(super) fn checked_at(&self, due: u64) -> u64 {
        match self.number("pushed-at") {
            0 => due,
            pushed_at => due.min(pushed_at),
        }
    }

    /// What the API itself has said is not replaced by what anybody may have said.
    fn note(&mut self, trust: PushTrust) {
        if trust != PushTrust::Anybody || !self.fields.contains_key("push-trust") {
            self.set("pushed-url", PUSHED_URL);
        }
        match trust {
            PushTrust::Anybody => {}
            PushTrust::Authenticated => self.set("push-trust", "authenticated"),
            PushTrust::Accept => self.set("push-trust", "accept"),
        }
    }
}

//! The whole life of a job in one place: its states, what can happen to it, and what follows.
//!
//! [`LIFE`] is the one table; the drawing below is generated from it and the scripts' headers
//! name its rows (tests compare both). Whoever moves a job runs the row's script.
//!
//! ```text
//! stateDiagram-v2
//!     [*] --> waiting: admitted (admit)
//!     [*] --> submitting: admitted into free hands (admit)
//!     waiting --> submitting: claimed (claim_submit)
//!     waiting --> expired: overdue (claim_submit)
//!     waiting --> failed: overdue unconfirmed (claim_submit)
//!     waiting --> polling: accepted (accept)
//!     submitting --> polling: accepted (accept)
//!     submitting --> waiting: retry later (requeue)
//!     submitting --> waiting: handed back (requeue)
//!     submitting --> failed: refused alone (requeue)
//!     submitting --> unconfirmed: no answer (unconfirm)
//!     submitting --> failed: rejected (finish)
//!     submitting --> unconfirmed: lease lost (reclaim)
//!     submitting --> failed: crash loop (reclaim)
//!     unconfirmed --> submitting: claimed (claim_submit)
//!     unconfirmed --> unconfirmed: held (claim_submit)
//!     unconfirmed --> failed: overdue (claim_submit)
//!     unconfirmed --> polling: accepted (accept)
//!     polling --> polling: claimed (claim_poll)
//!     polling --> polling: not yet (repoll)
//!     polling --> polling: handed back (repoll)
//!     polling --> polling: lease lost (reclaim)
//!     polling --> completed: ready (finish)
//!     polling --> failed: failed (finish)
//!     polling --> expired: overdue (finish)
//!     expired --> completed: ready (finish)
//!     waiting --> cancelled: cancelled (cancel)
//!     submitting --> cancelled: cancelled (cancel)
//!     unconfirmed --> cancelled: cancelled (cancel)
//!     polling --> cancelled: cancelled (cancel)
//!     waiting --> waiting: hurried (retry)
//!     unconfirmed --> unconfirmed: hurried (retry)
//!     polling --> polling: hurried (retry)
//!     failed --> polling: followed again (retry)
//!     expired --> polling: followed again (retry)
//!     cancelled --> polling: followed again (retry)
//!     failed --> waiting: started over (retry)
//!     expired --> waiting: started over (retry)
//!     cancelled --> waiting: started over (retry)
//!     unconfirmed --> polling: found accepted (resolve)
//!     unconfirmed --> completed: found ready (resolve)
//!     unconfirmed --> failed: given up (resolve)
//!     submitting --> completed: accepted and pushed (accept)
//!     waiting --> completed: pushed before (claim_submit)
//!     unconfirmed --> completed: pushed before (claim_submit)
//!     unconfirmed --> unconfirmed: announced (push)
//!     polling --> polling: announced (push)
//!     expired --> expired: announced (push)
//!     expired --> expired: claimed (claim_poll)
//!     expired --> expired: not yet (repoll)
//!     expired --> expired: handed back (repoll)
//!     expired --> expired: lease lost (reclaim)
//!     waiting --> completed: pushed (push)
//!     unconfirmed --> completed: pushed (push)
//!     polling --> completed: pushed (push)
//!     expired --> completed: pushed (push)
//! ```

use std::fmt;

/// Where a job stands; the words are those of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// To be submitted, first or again, when its time has come.
    ///
    /// Whoever admits the job, or settles a POST that was surely not accepted, moves it in; a claim
    /// moves it out. It stands in Redis alone, so nobody's death concerns it.
    Waiting,
    /// In a worker's hands; its POST may be on its way.
    ///
    /// A claim, or the admission by a worker with a free permit, moves it in; that worker's settler
    /// moves it out. When the worker dies, another one's rescuer makes it `unconfirmed`.
    Submitting,
    /// A POST was sent and its answer never arrived.
    ///
    /// The settler moves it in, or the rescuer for a worker that died; a claim after the grace moves
    /// it out, or an answer that comes late, or an operator. It stands in Redis alone.
    Unconfirmed,
    /// Accepted by the API; its video is asked for from time to time.
    ///
    /// The settler moves it in with the API's id, and out with the URL, a failure or the deadline.
    /// Between checks it stands in Redis alone; when a worker dies during a check, another one's
    /// rescuer makes it due again.
    Polling,
    /// Ended with its video. The settler moves it in, a push, or an operator; nothing moves it out.
    Completed,
    /// Ended by a fault. The settler moves it in, a claim that finds it overdue, the rescuer in a
    /// crash loop, or an operator; only an operator's `retry` moves it out.
    Failed,
    /// Ended by time. A claim moves it in before it was accepted, the settler after; an operator's
    /// `retry` moves it out, or a URL that comes after all. Because of a push it is checked once
    /// more, and stands in `poll` or `leases` meanwhile.
    Expired,
    /// Ended by an operator, whose `cancel` moves it in and whose `retry` moves it out.
    ///
    /// What is true of every end: whoever dies in the middle of it leaves a record that the next look
    /// ends wholly (`lua/lib/ending.lua`).
    Cancelled,
}

impl State {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Submitting,
        Self::Unconfirmed,
        Self::Polling,
        Self::Completed,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
    ];

    /// The word in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Submitting => "submitting",
            Self::Unconfirmed => "unconfirmed",
            Self::Polling => "polling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the job has ended: it then is in no place and has its result.
    #[must_use]
    pub const fn is_end(self) -> bool {
        match self {
            Self::Waiting | Self::Submitting | Self::Unconfirmed | Self::Polling => false,
            Self::Completed | Self::Failed | Self::Expired | Self::Cancelled => true,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What can happen to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An entry became a job.
    Admitted,
    /// An entry became a job that its reader begins at once.
    AdmittedIntoHands,
    /// A worker took it.
    Claimed,
    /// Its time is over.
    Overdue,
    /// Its time is over, and an earlier POST of it was never answered.
    OverdueUnconfirmed,
    /// It may not be sent again.
    Held,
    /// The API accepted it.
    Accepted,
    /// It was surely not accepted this time.
    RetryLater,
    /// A stopping worker gave it back.
    HandedBack,
    /// The API refused it again and again, and accepted others meanwhile.
    RefusedAlone,
    /// A POST was sent and not answered.
    NoAnswer,
    /// The API refused the request for good.
    Rejected,
    /// Its worker died or held it too long.
    LeaseLost,
    /// Its workers died again and again.
    CrashLoop,
    /// No URL yet.
    NotYet,
    /// The URL is there.
    Ready,
    /// The API reported a failure.
    Failed,
    /// An operator ended it.
    Cancelled,
    /// An operator made it due now.
    Hurried,
    /// An operator had it followed again after its end.
    FollowedAgain,
    /// An operator had it submitted again after its end.
    StartedOver,
    /// An operator found out that the API accepted it.
    FoundAccepted,
    /// An operator found its video.
    FoundReady,
    /// An operator found out that there is none.
    GivenUp,
    /// The API accepted it and had pushed its URL before.
    AcceptedAndPushed,
    /// It was to be sent again, and the API had pushed its URL.
    PushedBefore,
    /// Somebody pushed a URL, which is to be checked.
    Announced,
    /// The API pushed its URL.
    Pushed,
}

impl Event {
    /// The words in the drawing and in the scripts' headers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::AdmittedIntoHands => "admitted into free hands",
            Self::Claimed => "claimed",
            Self::Overdue => "overdue",
            Self::OverdueUnconfirmed => "overdue unconfirmed",
            Self::Held => "held",
            Self::Accepted => "accepted",
            Self::RetryLater => "retry later",
            Self::HandedBack => "handed back",
            Self::RefusedAlone => "refused alone",
            Self::NoAnswer => "no answer",
            Self::Rejected => "rejected",
            Self::LeaseLost => "lease lost",
            Self::CrashLoop => "crash loop",
            Self::NotYet => "not yet",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Hurried => "hurried",
            Self::FollowedAgain => "followed again",
            Self::StartedOver => "started over",
            Self::FoundAccepted => "found accepted",
            Self::FoundReady => "found ready",
            Self::GivenUp => "given up",
            Self::AcceptedAndPushed => "accepted and pushed",
            Self::PushedBefore => "pushed before",
            Self::Announced => "announced",
            Self::Pushed => "pushed",
        }
    }
}

/// One row of the table: what follows when something happens in a state, and by which script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where the job stood; `None`: there was none.
    pub from: Option<State>,
    /// What happened.
    pub event: Event,
    /// Where the job stands then.
    pub to: State,
    /// The script that makes the move, `src/queue/lua/<script>.lua`.
    pub script: &'static str,
    /// When and why.
    pub reason: &'static str,
}

const fn row(
    from: Option<State>,
    event: Event,
    to: State,
    script: &'static str,
    reason: &'static str,
) -> Row {
    Row { from, event, to, script, reason }
}

/// Everything that can happen to a job. What is not here does not happen: a script that meets
/// anything else leaves the job where it stands and says so. It may still note in the record what
/// is true all the same: an id or a URL that came too late.
#[rustfmt::skip]
pub const LIFE: &[Row] = &[
    row(None, Event::Admitted, State::Waiting, "admit",
        "a new id; it waits for a worker, or until its not-before"),
    row(None, Event::AdmittedIntoHands, State::Submitting, "admit",
        "a new id, and the worker that read it has a free permit"),
    row(Some(State::Waiting), Event::Claimed, State::Submitting, "claim_submit",
        "due, and a worker has a free permit; its POST begins"),
    row(Some(State::Waiting), Event::Overdue, State::Expired, "claim_submit",
        "older than submit.max_age, or past its expires-at"),
    row(Some(State::Waiting), Event::OverdueUnconfirmed, State::Failed, "claim_submit",
        "likewise, and a POST of it was never answered: it may be billed"),
    row(Some(State::Waiting), Event::Accepted, State::Polling, "accept",
        "a late answer to an earlier POST; an accepted id is true whoever brings it"),
    row(Some(State::Submitting), Event::Accepted, State::Polling, "accept",
        "the API accepted it"),
    row(Some(State::Submitting), Event::RetryLater, State::Waiting, "requeue",
        "surely not accepted; it is sent again after a backoff"),
    row(Some(State::Submitting), Event::HandedBack, State::Waiting, "requeue",
        "the worker stops before it sent anything"),
    row(Some(State::Submitting), Event::RefusedAlone, State::Failed, "requeue",
        "refused three times, and others were accepted since the first: the fault is its own"),
    row(Some(State::Submitting), Event::NoAnswer, State::Unconfirmed, "unconfirm",
        "the POST was sent and its answer never came; it may be billed"),
    row(Some(State::Submitting), Event::Rejected, State::Failed, "finish",
        "the API will never accept it"),
    row(Some(State::Submitting), Event::LeaseLost, State::Unconfirmed, "reclaim",
        "its worker died between the POST's begin and its answer"),
    row(Some(State::Submitting), Event::CrashLoop, State::Failed, "reclaim",
        "it ended its worker again and again"),
    row(Some(State::Unconfirmed), Event::Claimed, State::Submitting, "claim_submit",
        "the grace is over; it is sent again under the same id"),
    row(Some(State::Unconfirmed), Event::Held, State::Unconfirmed, "claim_submit",
        "sent again often enough, or never to be; it waits until its deadline"),
    row(Some(State::Unconfirmed), Event::Overdue, State::Failed, "claim_submit",
        "its deadline passed and no answer ever came"),
    row(Some(State::Unconfirmed), Event::Accepted, State::Polling, "accept",
        "the answer came after all"),
    row(Some(State::Polling), Event::Claimed, State::Polling, "claim_poll",
        "due, and a worker has a free permit; its GET begins"),
    row(Some(State::Polling), Event::NotYet, State::Polling, "repoll",
        "the video is not ready, or the check did not work"),
    row(Some(State::Polling), Event::HandedBack, State::Polling, "repoll",
        "the worker stops before the check was answered"),
    row(Some(State::Polling), Event::LeaseLost, State::Polling, "reclaim",
        "its worker died during the check, which is simply due again"),
    row(Some(State::Polling), Event::Ready, State::Completed, "finish",
        "the video is ready"),
    row(Some(State::Polling), Event::Failed, State::Failed, "finish",
        "the API reports a failure, or does not know the transaction"),
    row(Some(State::Polling), Event::Overdue, State::Expired, "finish",
        "an answer without a URL, later than poll.deadline or expires-at"),
    row(Some(State::Expired), Event::Ready, State::Completed, "finish",
        "a URL is true whoever brings it, and late is better than never"),
    row(Some(State::Waiting), Event::Cancelled, State::Cancelled, "cancel",
        "nobody wants it any more"),
    row(Some(State::Submitting), Event::Cancelled, State::Cancelled, "cancel",
        "likewise; its POST may be billed"),
    row(Some(State::Unconfirmed), Event::Cancelled, State::Cancelled, "cancel",
        "likewise; it may be billed"),
    row(Some(State::Polling), Event::Cancelled, State::Cancelled, "cancel",
        "likewise; it will be made and billed all the same"),
    row(Some(State::Waiting), Event::Hurried, State::Waiting, "retry",
        "due now, whatever it waited for"),
    row(Some(State::Unconfirmed), Event::Hurried, State::Unconfirmed, "retry",
        "due now, and to be sent once more even if it was held"),
    row(Some(State::Polling), Event::Hurried, State::Polling, "retry",
        "its next check is due now"),
    row(Some(State::Failed), Event::FollowedAgain, State::Polling, "retry",
        "the API has it and reported no failure: following it costs nothing"),
    row(Some(State::Expired), Event::FollowedAgain, State::Polling, "retry",
        "likewise, with a new deadline"),
    row(Some(State::Cancelled), Event::FollowedAgain, State::Polling, "retry", "likewise"),
    row(Some(State::Failed), Event::StartedOver, State::Waiting, "retry",
        "the API does not have it, or failed; or it is to be bought again"),
    row(Some(State::Expired), Event::StartedOver, State::Waiting, "retry", "likewise"),
    row(Some(State::Cancelled), Event::StartedOver, State::Waiting, "retry", "likewise"),
    row(Some(State::Unconfirmed), Event::FoundAccepted, State::Polling, "resolve",
        "its whilter-request-id is known"),
    row(Some(State::Unconfirmed), Event::FoundReady, State::Completed, "resolve",
        "its URL is known"),
    row(Some(State::Unconfirmed), Event::GivenUp, State::Failed, "resolve",
        "it is known that nothing comes of it"),
    row(Some(State::Submitting), Event::AcceptedAndPushed, State::Completed, "accept",
        "webhook.trust is accept, and the push came before the answer to the POST"),
    row(Some(State::Waiting), Event::PushedBefore, State::Completed, "claim_submit",
        "the API itself has pushed its URL since: it is not bought again"),
    row(Some(State::Unconfirmed), Event::PushedBefore, State::Completed, "claim_submit",
        "likewise"),
    row(Some(State::Unconfirmed), Event::Announced, State::Unconfirmed, "push",
        "anybody may have pushed it: it is sent again one grace later, once"),
    row(Some(State::Polling), Event::Announced, State::Polling, "push",
        "its next check is due now"),
    row(Some(State::Expired), Event::Announced, State::Expired, "push",
        "the API has it: one more check, for which it stands in poll"),
    row(Some(State::Expired), Event::Claimed, State::Expired, "claim_poll",
        "that check begins"),
    row(Some(State::Expired), Event::NotYet, State::Expired, "repoll",
        "that check did not work, and is made again"),
    row(Some(State::Expired), Event::HandedBack, State::Expired, "repoll",
        "the worker stops before that check was answered"),
    row(Some(State::Expired), Event::LeaseLost, State::Expired, "reclaim",
        "its worker died during that check, which is due again"),
    row(Some(State::Waiting), Event::Pushed, State::Completed, "push",
        "the API itself pushed its URL, so it has a POST of it whose answer said otherwise"),
    row(Some(State::Unconfirmed), Event::Pushed, State::Completed, "push",
        "the API itself pushed its URL; it cannot be checked"),
    row(Some(State::Polling), Event::Pushed, State::Completed, "push",
        "the API itself pushed its URL, and webhook.trust is accept"),
    row(Some(State::Expired), Event::Pushed, State::Completed, "push",
        "likewise, or it was never known to be accepted"),
];

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from.map_or("none", State::as_str);
        write!(f, "{from} -> {} ({})", self.to, self.event.as_str())
    }
}

#[cfg(test)]
mod tests;

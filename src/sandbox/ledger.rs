//! What was posted and accepted: what a test holds the bill against.
//!
//! A request is small here (its ids, some counts, perhaps its body), and so is a video: a million of
//! each is fine.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::rules::Job;
use super::submission::Submission;

/// Bodies are kept up to this total; tests look at few, load tests at none.
const KEPT_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Every request and every video.
pub(super) struct Ledger {
    /// Begins every whilter-request-id, so that those of another run are unknown to this one.
    run: u64,
    requests: HashMap<Box<str>, Posted>,
    /// A video's place is the number in its whilter-request-id.
    videos: Vec<Video>,
    body_bytes: usize,
    posts: u64,
    max_posts_per_id: u64,
    accepted_ids: u64,
}

/// What is known of one client-request-id.
#[derive(Default)]
pub(super) struct Posted {
    pub(super) posts: u64,
    pub(super) accepted: u64,
    /// Status checks of its videos, whatever the answer.
    pub(super) checks: u64,
    use_case_id: Box<str>,
    customer_id: Box<str>,
    pub(super) body: Option<Box<[u8]>>,
    /// When the first of them arrived.
    pub(super) posted_at: Option<Instant>,
    /// The place of the first accepted one's video.
    video: Option<usize>,
}

/// One accepted submit.
struct Video {
    client_request_id: Box<str>,
    accepted_at: Instant,
    /// When it was first asked for.
    checked_at: Option<Instant>,
    fate: Fate,
}

/// What becomes of a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is made in its time.
    Made,
    /// It is ready as soon as it is accepted.
    MadeAtOnce,
    /// Its generation fails.
    Fails,
}

/// The first time that each step of a life was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moments {
    /// A valid submit arrived.
    pub posted: Instant,
    /// One was accepted.
    pub accepted: Option<Instant>,
    /// The video of that one was asked for.
    pub checked: Option<Instant>,
}

/// How far a video is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Waiting,
    Ready,
    Failed,
}

/// The ledger's sums.
pub(super) struct Totals {
    pub(super) posts: u64,
    pub(super) max_posts_per_id: u64,
    pub(super) accepted: u64,
    pub(super) accepted_ids: u64,
}

impl Ledger {
    pub(super) fn new(run: u64) -> Self {
        Self {
            run,
            requests: HashMap::new(),
            videos: Vec::new(),
            body_bytes: 0,
            posts: 0,
            max_posts_per_id: 0,
            accepted_ids: 0,
        }
    }

    /// A valid submit has arrived, whatever becomes of it; the how-manyeth it is of its job.
    pub(super) fn post<'a>(
        &mut self,
        submission: &'a Submission,
        body: &[u8],
        now: Instant,
    ) -> (Job<'a>, u64) {
        let Submission { client_request_id, use_case_id, customer_id, .. } = submission;
        let posted = self.requests.entry(client_request_id.as_str().into()).or_default();
        posted.posted_at.get_or_insert(now);
        posted.use_case_id = use_case_id.as_str().into();
        posted.customer_id = customer_id.as_str().into();
        self.posts += 1;
        posted.posts += 1;
        self.max_posts_per_id = self.max_posts_per_id.max(posted.posts);
        self.body_bytes -= posted.body.take().map_or(0, |body| body.len());
        if self.body_bytes + body.len() <= KEPT_BODY_BYTES {
            self.body_bytes += body.len();
            posted.body = Some(body.into());
        }
        (Job { id: client_request_id, use_case_id, customer_id }, posted.posts)
    }

    /// Accepts a submit, also one that was accepted before; returns its new whilter-request-id.
    pub(super) fn accept(&mut self, client_request_id: &str, fate: Fate, now: Instant) -> String {
        let posted = self.requests.entry(client_request_id.into()).or_default();
        self.accepted_ids += u64::from(posted.accepted == 0);
        posted.accepted += 1;
        posted.video.get_or_insert(self.videos.len());
        let client_request_id = client_request_id.into();
        self.videos.push(Video { client_request_id, accepted_at: now, checked_at: None, fate });
        self.whilter_request_id(self.videos.len() - 1)
    }

    /// How far a video is, which is being asked for; `None`: there is none of this id.
    pub(super) fn progress(
        &mut self,
        whilter_request_id: &str,
        ready_after: Duration,
        now: Instant,
    ) -> Option<Progress> {
        let place = self.place(whilter_request_id)?;
        let video = self.videos.get_mut(place)?;
        video.checked_at.get_or_insert(now);
        let in_time = now.saturating_duration_since(video.accepted_at) >= ready_after;
        Some(match (video.fate, in_time) {
            (Fate::MadeAtOnce, _) | (Fate::Made, true) => Progress::Ready,
            (Fate::Fails, true) => Progress::Failed,
            (Fate::Made | Fate::Fails, false) => Progress::Waiting,
        })
    }

    /// A status check has arrived, whatever becomes of it; the how-manyeth it is of its job.
    /// `None`: there is no video of this id.
    pub(super) fn check(&mut self, whilter_request_id: &str) -> Option<(Job<'_>, u64)> {
        let id = &self.videos.get(self.place(whilter_request_id)?)?.client_request_id;
        let Posted { checks, use_case_id, customer_id, .. } = self.requests.get_mut(id)?;
        *checks += 1;
        Some((Job { id, use_case_id, customer_id }, *checks))
    }

    pub(super) fn posted(&self, client_request_id: &str) -> Option<&Posted> {
        self.requests.get(client_request_id)
    }

    pub(super) fn moments(&self, client_request_id: &str) -> Option<Moments> {
        let posted = self.posted(client_request_id)?;
        let video = posted.video.and_then(|place| self.videos.get(place));
        Some(Moments {
            posted: posted.posted_at?,
            accepted: video.map(|video| video.accepted_at),
            checked: video.and_then(|video| video.checked_at),
        })
    }

    pub(super) fn requests(&self) -> impl Iterator<Item = (&str, &Posted)> {
        self.requests.iter().map(|(id, posted)| (&**id, posted))
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            posts: self.posts,
            max_posts_per_id: self.max_posts_per_id,
            accepted: u64::try_from(self.videos.len()).unwrap_or(u64::MAX),
            accepted_ids: self.accepted_ids,
        }
    }

    /// A video's place; nothing may be there.
    fn place(&self, whilter_request_id: &str) -> Option<usize> {
        let place = whilter_request_id.rsplit_once('-')?.1.parse().ok()?;
        // A number has many spellings, an id has one.
        (self.whilter_request_id(place) == whilter_request_id).then_some(place)
    }

    fn whilter_request_id(&self, place: usize) -> String {
        format!("sandbox-{:x}-{place}", self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission(client_request_id: &str) -> Submission {
        let [user_id, use_case_id, customer_id] = ["user", "t1", "acme"].map(str::to_owned);
        let client_request_id = client_request_id.to_owned();
        Submission { client_request_id, user_id, use_case_id, customer_id }
    }

    #[test]
    fn a_million_videos_are_found_by_their_ids_and_by_no_other_spelling() {
        let mut ledger = Ledger::new(0xa7);
        let now = Instant::now();
        for number in 0..1_000_000 {
            let fate = if number == 7 { Fate::Fails } else { Fate::Made };
            ledger.accept(&format!("job-{number}"), fate, now);
        }
        let mut progress = |id: &str| ledger.progress(id, Duration::ZERO, now);
        assert_eq!(progress("sandbox-a7-0"), Some(Progress::Ready));
        assert_eq!(progress("sandbox-a7-7"), Some(Progress::Failed));
        assert_eq!(progress("sandbox-a7-999999"), Some(Progress::Ready));
        for unknown in ["sandbox-a7-1000000", "sandbox-a7-+1", "sandbox-a7-01", "sandbox-a8-1", "1"]
        {
            assert_eq!(progress(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn bodies_are_kept_up_to_a_limit_and_the_last_one_counts() {
        let mut ledger = Ledger::new(1);
        let (one, two) = (submission("one"), submission("two"));
        let large = vec![b'x'; KEPT_BODY_BYTES];
        let now = Instant::now();
        ledger.post(&one, b"first", now);
        ledger.post(&one, b"second", now);
        assert_eq!(ledger.posted("one").unwrap().body.as_deref(), Some(&b"second"[..]));
        ledger.post(&two, &large, now);
        assert!(ledger.posted("two").unwrap().body.is_none(), "it does not fit");
        ledger.post(&one, &large, now);
        assert!(ledger.posted("one").unwrap().body.is_some(), "it fits once the old one is gone");
    }
}
